import asyncio, sys, os, time, io, subprocess
kind=sys.argv[1]
if kind=="segue":
    import segue; factory=segue.new_event_loop
else: factory=asyncio.SelectorEventLoop
async def leaf(ev): await ev.wait()
async def mid(ev):
    async with asyncio.TaskGroup() as tg:
        tg.create_task(leaf(ev), name="leaf1"); tg.create_task(leaf(ev), name="leaf2")
async def main():
    ev=asyncio.Event()
    t=asyncio.create_task(mid(ev), name="mid")
    await asyncio.sleep(0.05)
    leafs=[x for x in asyncio.all_tasks() if x.get_name()=="leaf1"]
    out=io.StringIO(); asyncio.print_call_graph(leafs[0], file=out); print(out.getvalue())
    print(asyncio.format_call_graph(t))
    g=asyncio.capture_call_graph()
    print(g.future.get_name(), len(g.call_stack), g.awaited_by)
    f1=asyncio.get_running_loop().create_future(); 
    f2=asyncio.get_running_loop().create_future()
    asyncio.future_add_to_awaited_by(f1,f2); print(len(f1._asyncio_awaited_by), f1._asyncio_awaited_by == {f2}); asyncio.future_discard_from_awaited_by(f1,f2); print(f1._asyncio_awaited_by)
    if len(sys.argv)>2:
        for cmd in ("ps","pstree"):
            p=await asyncio.create_subprocess_exec(sys.executable,"-m","asyncio",cmd,str(os.getpid()),stdout=-1,stderr=-2)
            o,_=await p.communicate(); print(cmd, p.returncode, o.decode()[-3000:])
    ev.set(); await t
    t=asyncio.create_task(leaf(ev), name="x", eager_start=True); print(t.done(), t.get_name())
    t=asyncio.get_running_loop().create_task(leaf(ev), name="x", eager_start=True); print(t.done())
    try: asyncio.create_task(leaf(ev), bogus=1)
    except TypeError as e: print(e)
    loop=asyncio.get_running_loop()
    loop.set_task_factory(lambda loop,coro,**kw: (print("factory",kw), asyncio.Task(coro,loop=loop,**{k:v for k,v in kw.items() if k!="more"}))[1])
    t=asyncio.create_task(leaf(ev), name="y", more=3); await t
    t=loop.create_task(leaf(ev), more=4); await t
    loop.set_task_factory(asyncio.eager_task_factory)
    t=asyncio.create_task(leaf(ev), eager_start=False); print(t.done()); await t
    t=asyncio.create_task(leaf(ev), eager_start=None); print(t.done()); await t
    t=asyncio.create_task(leaf(ev)); print(t.done()); await t
asyncio.run(main(), loop_factory=factory)
