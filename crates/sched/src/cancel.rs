//! The cancel tree: which tasks does a cancelled scope reach?
//!
//! Rule 1: a scope is *effectively* cancelled if it was cancelled, or if its parent is effectively cancelled and the
//!         scope is not shielded.
//! Rule 2: a task sits in exactly one scope, its innermost; it is told to cancel while that scope is effectively cancelled.
//! Rule 3: every operation that can turn scopes effectively cancelled returns the tasks to tell; the tree never calls out.
//! Rule 4: a scope catches a cancellation only if it is cancelled and no enclosing visible scope is ([`CancelTree::catches`]).
//! Rule 5: closing a scope moves its tasks and child scopes to its parent, so that nothing is ever lost.
//! Rule 6: a scope's serial number is never used again, its id is.
//!
//! Deadlines are kept here because their effective value follows the same tree; their timers are the caller's.
//! This file does not know what a task or an exception is.

use crate::clock::Nanos;

/// Names an open scope. Used again only after `close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopeId(u32);

/// Names a task's place in the tree from `enter_task` to `leave_task`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskSlot(u32);

impl ScopeId {
    /// A number for storing; never 0, which callers use for "none".
    pub fn to_raw(self) -> u32 {
        self.0 + 1
    }

    pub fn from_raw(raw: u32) -> Option<Self> {
        raw.checked_sub(1).map(ScopeId)
    }
}

impl TaskSlot {
    /// As [`ScopeId::to_raw`].
    pub fn to_raw(self) -> u32 {
        self.0 + 1
    }

    pub fn from_raw(raw: u32) -> Option<Self> {
        raw.checked_sub(1).map(TaskSlot)
    }
}

const NIL: u32 = u32::MAX;

/// "No deadline".
pub const NEVER: Nanos = Nanos::MAX;

#[derive(Debug)]
struct Scope<S> {
    open: bool,
    serial: u64,
    owner: S,
    parent: u32,
    /// Doubly linked lists through `Scope` and `Member`: children and the tasks whose innermost scope this is.
    first_child: u32,
    next_sibling: u32,
    prev_sibling: u32,
    first_task: u32,
    shield: bool,
    cancelled: bool,
    /// Invariant: `cancelled || (!shield && parent.effective)`.
    effective: bool,
    deadline: Nanos,
}

#[derive(Debug)]
struct Member<T> {
    task: Option<T>,
    scope: u32,
    next: u32,
    prev: u32,
}

/// `T` is what the caller wants back for a task and `S` what it wants back for a scope: an id, a pointer.
#[derive(Debug)]
pub struct CancelTree<T, S = ()> {
    scopes: Vec<Scope<S>>,
    free_scopes: Vec<u32>,
    members: Vec<Member<T>>,
    free_members: Vec<u32>,
    last_serial: u64,
}

impl<T, S> Default for CancelTree<T, S> {
    fn default() -> Self {
        Self {
            scopes: Vec::new(),
            free_scopes: Vec::new(),
            members: Vec::new(),
            free_members: Vec::new(),
            last_serial: 0,
        }
    }
}

impl<T: Copy, S: Copy + Default> CancelTree<T, S> {
    /// Opens a scope under `parent`. It is effectively cancelled from the start if its parent is and `shield` is not set.
    pub fn open(&mut self, parent: Option<ScopeId>, shield: bool) -> ScopeId {
        let parent = parent.map_or(NIL, |p| p.0);
        let effective = !shield && parent != NIL && self.scopes[parent as usize].effective;
        self.last_serial += 1;
        let scope = Scope {
            open: true,
            serial: self.last_serial,
            owner: S::default(),
            parent,
            first_child: NIL,
            next_sibling: NIL,
            prev_sibling: NIL,
            first_task: NIL,
            shield,
            cancelled: false,
            effective,
            deadline: NEVER,
        };
        let id = match self.free_scopes.pop() {
            Some(id) => {
                self.scopes[id as usize] = scope;
                id
            }
            None => {
                self.scopes.push(scope);
                (self.scopes.len() - 1) as u32
            }
        };
        self.link_child(parent, id);
        ScopeId(id)
    }

    /// Closes a scope; what is left in it moves to its parent (or out of the tree, if it has none).
    /// Returns the tasks that this makes effectively cancelled (a shield that goes away).
    pub fn close(&mut self, id: ScopeId) -> Vec<T> {
        debug_assert!(self.scopes[id.0 as usize].open);
        let parent = self.scopes[id.0 as usize].parent;
        let told = self.move_all(id.0, parent, None);
        self.unlink_child(id.0);
        self.scopes[id.0 as usize].open = false;
        self.scopes[id.0 as usize].owner = S::default();
        self.free_scopes.push(id.0);
        told
    }

    /// Moves everything in `from` but the task `stays` into `to`, which is not inside `from`.
    /// Returns the tasks that this makes effectively cancelled.
    pub fn move_contents(&mut self, from: ScopeId, to: ScopeId, stays: Option<TaskSlot>) -> Vec<T> {
        self.move_all(from.0, to.0, stays.map(|s| s.0))
    }

    fn move_all(&mut self, from: u32, to: u32, stays: Option<u32>) -> Vec<T> {
        let was_effective = self.scopes[from as usize].effective;
        let is_effective = to != NIL && self.scopes[to as usize].effective;
        let mut told = Vec::new();
        while self.scopes[from as usize].first_child != NIL {
            let child = self.scopes[from as usize].first_child;
            self.unlink_child(child);
            self.scopes[child as usize].parent = to;
            self.link_child(to, child);
            self.refresh(child, &mut told);
        }
        let mut member = self.scopes[from as usize].first_task;
        while member != NIL {
            let next = self.members[member as usize].next;
            if stays != Some(member) {
                self.unlink_task(member);
                self.link_task(to, member);
                if !was_effective && is_effective {
                    told.extend(self.members[member as usize].task);
                }
            }
            member = next;
        }
        told
    }

    /// Cancels a scope. Returns the tasks it newly reaches; none if it already was effectively cancelled.
    pub fn cancel(&mut self, id: ScopeId) -> Vec<T> {
        self.scopes[id.0 as usize].cancelled = true;
        let mut told = Vec::new();
        self.refresh(id.0, &mut told);
        told
    }

    /// Sets or lifts a shield at once. Returns the tasks a lifted shield newly exposes to a cancellation.
    pub fn set_shield(&mut self, id: ScopeId, shield: bool) -> Vec<T> {
        self.scopes[id.0 as usize].shield = shield;
        let mut told = Vec::new();
        self.refresh(id.0, &mut told);
        told
    }

    pub fn shield(&self, id: ScopeId) -> bool {
        self.scopes[id.0 as usize].shield
    }

    pub fn is_cancelled(&self, id: ScopeId) -> bool {
        self.scopes[id.0 as usize].cancelled
    }

    #[inline]
    pub fn is_effectively_cancelled(&self, id: ScopeId) -> bool {
        self.scopes[id.0 as usize].effective
    }

    /// Whether a cancellation arriving at this scope's end is this scope's to keep (rule 4).
    pub fn catches(&self, id: ScopeId) -> bool {
        let s = &self.scopes[id.0 as usize];
        s.cancelled && !(!s.shield && s.parent != NIL && self.scopes[s.parent as usize].effective)
    }

    /// The scope whose cancellation a task in `id` feels: the outermost cancelled one that is visible from there.
    pub fn source(&self, id: ScopeId) -> Option<ScopeId> {
        let mut found = None;
        let mut at = id.0;
        while at != NIL {
            let s = &self.scopes[at as usize];
            if s.cancelled {
                found = Some(ScopeId(at));
            }
            if s.shield {
                break;
            }
            at = s.parent;
        }
        found
    }

    /// A number that no other scope of this tree has or will have.
    pub fn serial(&self, id: ScopeId) -> u64 {
        self.scopes[id.0 as usize].serial
    }

    pub fn owner(&self, id: ScopeId) -> S {
        self.scopes[id.0 as usize].owner
    }

    pub fn set_owner(&mut self, id: ScopeId, owner: S) {
        self.scopes[id.0 as usize].owner = owner;
    }

    pub fn parent(&self, id: ScopeId) -> Option<ScopeId> {
        let parent = self.scopes[id.0 as usize].parent;
        (parent != NIL).then_some(ScopeId(parent))
    }

    pub fn deadline(&self, id: ScopeId) -> Nanos {
        self.scopes[id.0 as usize].deadline
    }

    pub fn set_deadline(&mut self, id: ScopeId, deadline: Nanos) {
        self.scopes[id.0 as usize].deadline = deadline;
    }

    /// The visible scope with the earliest deadline, if any has one; the innermost of those with the same.
    pub fn next_to_expire(&self, id: ScopeId) -> Option<ScopeId> {
        let mut found: Option<u32> = None;
        let mut at = id.0;
        while at != NIL {
            let s = &self.scopes[at as usize];
            let least = found.map_or(NEVER, |f| self.scopes[f as usize].deadline);
            if s.deadline < least {
                found = Some(at);
            }
            if s.shield {
                break;
            }
            at = s.parent;
        }
        found.map(ScopeId)
    }

    /// Puts a task into a scope. Whether it must be told to cancel is the caller's question to
    /// [`CancelTree::is_effectively_cancelled`]: a new task runs to its first suspension first.
    pub fn enter_task(&mut self, task: T, scope: ScopeId) -> TaskSlot {
        let member = Member { task: Some(task), scope: NIL, next: NIL, prev: NIL };
        let slot = match self.free_members.pop() {
            Some(slot) => {
                self.members[slot as usize] = member;
                slot
            }
            None => {
                self.members.push(member);
                (self.members.len() - 1) as u32
            }
        };
        self.link_task(scope.0, slot);
        TaskSlot(slot)
    }

    /// Moves a task to another scope (its innermost one was opened or closed). True if it now is effectively cancelled.
    pub fn move_task(&mut self, slot: TaskSlot, scope: Option<ScopeId>) -> bool {
        self.unlink_task(slot.0);
        let scope = scope.map_or(NIL, |s| s.0);
        self.link_task(scope, slot.0);
        scope != NIL && self.scopes[scope as usize].effective
    }

    pub fn leave_task(&mut self, slot: TaskSlot) {
        self.unlink_task(slot.0);
        self.members[slot.0 as usize].task = None;
        self.free_members.push(slot.0);
    }

    pub fn scope_of(&self, slot: TaskSlot) -> Option<ScopeId> {
        let scope = self.members[slot.0 as usize].scope;
        (scope != NIL).then_some(ScopeId(scope))
    }

    /// The tasks whose innermost scope is `id`, in no particular order.
    pub fn tasks(&self, id: ScopeId) -> Vec<T> {
        let mut out = Vec::new();
        let mut at = self.scopes[id.0 as usize].first_task;
        while at != NIL {
            let m = &self.members[at as usize];
            out.extend(m.task);
            at = m.next;
        }
        out
    }

    /// Whether anything but the task `stays` is in the scope.
    #[inline]
    pub fn has_others(&self, id: ScopeId, stays: Option<TaskSlot>) -> bool {
        let s = &self.scopes[id.0 as usize];
        let first = s.first_task;
        let only_it = first == NIL || (stays.is_some_and(|t| t.0 == first) && self.members[first as usize].next == NIL);
        s.first_child != NIL || !only_it
    }

    /// The scope right under `outer` on the way up from `inner`, which is inside of it; none if it isn't.
    pub fn child_towards(&self, outer: ScopeId, inner: ScopeId) -> Option<ScopeId> {
        let mut at = inner.0;
        while at != NIL {
            let parent = self.scopes[at as usize].parent;
            if parent == outer.0 {
                return Some(ScopeId(at));
            }
            at = parent;
        }
        None
    }

    pub fn has_children(&self, id: ScopeId) -> bool {
        self.scopes[id.0 as usize].first_child != NIL
    }

    pub fn open_scopes(&self) -> usize {
        self.scopes.len() - self.free_scopes.len()
    }

    /// Restores rule 1's invariant from `root` down; collects the tasks of scopes that turned effective.
    /// Iterative: a tree may be deeper than the stack.
    fn refresh(&mut self, root: u32, told: &mut Vec<T>) {
        let mut todo = vec![root];
        while let Some(at) = todo.pop() {
            let (cancelled, shield, parent, before) = {
                let s = &self.scopes[at as usize];
                (s.cancelled, s.shield, s.parent, s.effective)
            };
            let now = cancelled || (!shield && parent != NIL && self.scopes[parent as usize].effective);
            if now == before {
                continue;
            }
            self.scopes[at as usize].effective = now;
            if now {
                let mut m = self.scopes[at as usize].first_task;
                while m != NIL {
                    told.extend(self.members[m as usize].task);
                    m = self.members[m as usize].next;
                }
            }
            let mut child = self.scopes[at as usize].first_child;
            while child != NIL {
                todo.push(child);
                child = self.scopes[child as usize].next_sibling;
            }
        }
    }

    fn link_child(&mut self, parent: u32, id: u32) {
        let next = if parent == NIL { NIL } else { self.scopes[parent as usize].first_child };
        self.scopes[id as usize].prev_sibling = NIL;
        self.scopes[id as usize].next_sibling = next;
        if next != NIL {
            self.scopes[next as usize].prev_sibling = id;
        }
        if parent != NIL {
            self.scopes[parent as usize].first_child = id;
        }
    }

    fn unlink_child(&mut self, id: u32) {
        let (parent, prev, next) = {
            let s = &self.scopes[id as usize];
            (s.parent, s.prev_sibling, s.next_sibling)
        };
        if prev != NIL {
            self.scopes[prev as usize].next_sibling = next;
        } else if parent != NIL && self.scopes[parent as usize].first_child == id {
            self.scopes[parent as usize].first_child = next;
        }
        if next != NIL {
            self.scopes[next as usize].prev_sibling = prev;
        }
    }

    fn link_task(&mut self, scope: u32, slot: u32) {
        let next = if scope == NIL { NIL } else { self.scopes[scope as usize].first_task };
        {
            let m = &mut self.members[slot as usize];
            m.scope = scope;
            m.prev = NIL;
            m.next = next;
        }
        if next != NIL {
            self.members[next as usize].prev = slot;
        }
        if scope != NIL {
            self.scopes[scope as usize].first_task = slot;
        }
    }

    fn unlink_task(&mut self, slot: u32) {
        let (scope, prev, next) = {
            let m = &self.members[slot as usize];
            (m.scope, m.prev, m.next)
        };
        if prev != NIL {
            self.members[prev as usize].next = next;
        } else if scope != NIL {
            self.scopes[scope as usize].first_task = next;
        }
        if next != NIL {
            self.members[next as usize].prev = prev;
        }
        self.members[slot as usize].scope = NIL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_shield_hides_and_lifting_it_exposes() {
        let mut t: CancelTree<char> = CancelTree::default();
        let outer = t.open(None, false);
        let inner = t.open(Some(outer), true);
        t.enter_task('a', inner);
        assert!(t.cancel(outer).is_empty());
        assert!(!t.is_effectively_cancelled(inner));
        assert_eq!(t.set_shield(inner, false), ['a']);
        assert!(t.is_effectively_cancelled(inner));
        assert!(t.set_shield(inner, true).is_empty());
        assert!(!t.is_effectively_cancelled(inner));
    }

    #[test]
    fn the_outer_cancellation_passes_through_the_inner_scope() {
        let mut t: CancelTree<u8> = CancelTree::default();
        let outer = t.open(None, false);
        let inner = t.open(Some(outer), false);
        t.cancel(inner);
        assert!(t.catches(inner));
        t.cancel(outer);
        assert!(!t.catches(inner));
        assert!(t.catches(outer));
        assert_eq!(t.source(inner), Some(outer));
    }

    #[test]
    fn closing_moves_tasks_to_the_parent() {
        let mut t: CancelTree<char> = CancelTree::default();
        let outer = t.open(None, false);
        let inner = t.open(Some(outer), true);
        let slot = t.enter_task('a', inner);
        t.cancel(outer);
        assert_eq!(t.close(inner), ['a']);
        assert_eq!(t.scope_of(slot), Some(outer));
        t.leave_task(slot);
        t.close(outer);
        assert_eq!(t.open_scopes(), 0);
    }

    #[test]
    fn the_earliest_visible_deadline_is_found() {
        let mut t: CancelTree<u8> = CancelTree::default();
        let outer = t.open(None, false);
        let inner = t.open(Some(outer), false);
        assert_eq!(t.next_to_expire(inner), None);
        t.set_deadline(outer, 5);
        t.set_deadline(inner, 9);
        assert_eq!(t.next_to_expire(inner), Some(outer));
        t.set_shield(inner, true);
        assert_eq!(t.next_to_expire(inner), Some(inner));
    }

    #[test]
    fn contents_move_without_the_one_that_stays() {
        let mut t: CancelTree<char, u8> = CancelTree::default();
        let old = t.open(None, false);
        let new = t.open(None, false);
        let host = t.enter_task('h', old);
        let child = t.enter_task('c', old);
        let own = t.open(Some(old), false);
        t.set_owner(own, 7);
        let grandchild = t.enter_task('g', own);
        t.cancel(new);
        let mut told = t.move_contents(old, new, Some(host));
        told.sort();
        assert_eq!(told, ['c', 'g']);
        assert_eq!((t.scope_of(host), t.scope_of(child), t.scope_of(grandchild)), (Some(old), Some(new), Some(own)));
        assert_eq!((t.parent(own), t.owner(own)), (Some(new), 7));
    }

    #[test]
    fn an_id_is_used_again_and_a_serial_is_not() {
        let mut t: CancelTree<u8> = CancelTree::default();
        let a = t.open(None, false);
        let serial = t.serial(a);
        t.close(a);
        let b = t.open(None, false);
        assert_eq!(a, b);
        assert_ne!(serial, t.serial(b));
    }

    #[derive(Debug, Clone)]
    enum Op {
        Open(usize, bool),
        Close(usize),
        Cancel(usize),
        Shield(usize, bool),
        Enter(usize),
        Leave(usize),
        MoveContents(usize, usize),
    }

    /// The tree without any cleverness: walk up and look.
    #[derive(Clone)]
    struct Model {
        id: ScopeId,
        parent: Option<usize>,
        shield: bool,
        cancelled: bool,
        open: bool,
    }

    /// Whether `at` is `outer` or somewhere below it.
    fn inside(model: &[Model], mut at: usize, outer: usize) -> bool {
        loop {
            if at == outer {
                return true;
            }
            match model[at].parent {
                Some(p) => at = p,
                None => return false,
            }
        }
    }

    fn effective(model: &[Model], mut at: usize) -> bool {
        loop {
            let s = &model[at];
            if s.cancelled {
                return true;
            }
            match s.parent {
                Some(p) if !s.shield => at = p,
                _ => return false,
            }
        }
    }

    proptest! {
        #[test]
        fn behaves_as_walking_up_the_tree(ops in proptest::collection::vec(prop_oneof![
            3 => (0usize..20, any::<bool>()).prop_map(|(p, s)| Op::Open(p, s)),
            2 => (0usize..20).prop_map(Op::Close),
            2 => (0usize..20).prop_map(Op::Cancel),
            2 => (0usize..20, any::<bool>()).prop_map(|(p, s)| Op::Shield(p, s)),
            3 => (0usize..20).prop_map(Op::Enter),
            1 => (0usize..20).prop_map(Op::Leave),
            1 => (0usize..20, 0usize..20).prop_map(|(a, b)| Op::MoveContents(a, b))], 1..80))
        {
            let mut tree: CancelTree<usize> = CancelTree::default();
            let root = tree.open(None, false);
            let mut model = vec![Model { id: root, parent: None, shield: false, cancelled: false, open: true }];
            // (slot, scope index), the task's number is its place here
            let mut tasks: Vec<Option<(TaskSlot, usize)>> = Vec::new();
            let felt = |model: &[Model], tasks: &[Option<(TaskSlot, usize)>]| -> Vec<bool> {
                tasks.iter().map(|t| t.is_some_and(|(_, s)| effective(model, s))).collect()
            };
            for op in ops {
                let before = felt(&model, &tasks);
                let told = match op {
                    Op::Open(p, shield) => {
                        let p = p % model.len();
                        if !model[p].open { continue }
                        let id = tree.open(Some(model[p].id), shield);
                        model.push(Model { id, parent: Some(p), shield, cancelled: false, open: true });
                        Vec::new()
                    }
                    Op::Close(i) => {
                        let i = i % model.len();
                        if i == 0 || !model[i].open { continue }
                        let parent = model[i].parent;
                        for m in &mut model { if m.parent == Some(i) { m.parent = parent } }
                        for t in tasks.iter_mut().flatten() { if t.1 == i { t.1 = parent.unwrap() } }
                        model[i].open = false;
                        tree.close(model[i].id)
                    }
                    Op::Cancel(i) => {
                        let i = i % model.len();
                        if !model[i].open { continue }
                        model[i].cancelled = true;
                        tree.cancel(model[i].id)
                    }
                    Op::Shield(i, shield) => {
                        let i = i % model.len();
                        if !model[i].open { continue }
                        model[i].shield = shield;
                        tree.set_shield(model[i].id, shield)
                    }
                    Op::MoveContents(from, to) => {
                        let (from, to) = (from % model.len(), to % model.len());
                        if !model[from].open || !model[to].open || inside(&model, to, from) { continue }
                        for m in &mut model { if m.parent == Some(from) { m.parent = Some(to) } }
                        for t in tasks.iter_mut().flatten() { if t.1 == from { t.1 = to } }
                        tree.move_contents(model[from].id, model[to].id, None)
                    }
                    Op::Enter(i) => {
                        let i = i % model.len();
                        if !model[i].open { continue }
                        let slot = tree.enter_task(tasks.len(), model[i].id);
                        tasks.push(Some((slot, i)));
                        continue;
                    }
                    Op::Leave(i) => {
                        if tasks.is_empty() { continue }
                        let i = i % tasks.len();
                        if let Some((slot, _)) = tasks[i].take() { tree.leave_task(slot) }
                        continue;
                    }
                };
                let after = felt(&model, &tasks);
                let mut told = told;
                told.sort();
                let expected: Vec<_> = (0..tasks.len()).filter(|&i| after[i] && !before[i]).collect();
                prop_assert_eq!(told, expected);
                for m in model.iter().enumerate().filter(|(_, m)| m.open) {
                    prop_assert_eq!(tree.is_effectively_cancelled(m.1.id), effective(&model, m.0));
                }
                for (i, t) in tasks.iter().enumerate() {
                    if let Some((slot, scope)) = t {
                        prop_assert_eq!(tree.scope_of(*slot), Some(model[*scope].id));
                        prop_assert!(tree.tasks(model[*scope].id).contains(&i));
                    }
                }
            }
        }
    }

    #[test]
    fn others_and_the_way_to_them() {
        let mut t: CancelTree<u32> = CancelTree::default();
        let outer = t.open(None, false);
        let host = t.enter_task(1, outer);
        assert!(!t.has_others(outer, Some(host)));
        let guest = t.enter_task(2, outer);
        assert!(t.has_others(outer, Some(host)) && t.has_others(outer, Some(guest)) && t.has_others(outer, None));
        t.leave_task(guest);
        assert!(!t.has_others(outer, Some(host)) && t.has_others(outer, None));
        let middle = t.open(Some(outer), false);
        let inner = t.open(Some(middle), false);
        assert!(t.has_others(outer, Some(host)));
        assert_eq!(t.child_towards(outer, inner), Some(middle));
        assert_eq!(t.child_towards(outer, middle), Some(middle));
        assert_eq!(t.child_towards(inner, outer), None);
    }
}
