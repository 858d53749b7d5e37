# Tutorial: tasks. Two children in a nursery; the block ends when both have.
import trio


async def child1():
    print("  child1: started! sleeping now...")
    await trio.sleep(0.01)
    print("  child1: exiting!")


async def child2():
    print("  child2: started! sleeping now...")
    await trio.sleep(0.02)
    print("  child2: exiting!")


async def parent():
    print("parent: started!")
    async with trio.open_nursery() as nursery:
        print("parent: spawning child1...")
        nursery.start_soon(child1)
        print("parent: spawning child2...")
        nursery.start_soon(child2)
        print("parent: waiting for children to finish...")
    print("parent: all done!")


trio.run(parent)

# prints, in any order:
#       child1: exiting!
#       child1: started! sleeping now...
#       child2: exiting!
#       child2: started! sleeping now...
#     parent: all done!
#     parent: spawning child1...
#     parent: spawning child2...
#     parent: started!
#     parent: waiting for children to finish...
