"""The order of kernels: where memory matters, what lets go of memory runs before what takes more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import prod

from plait.compiler.groups import Group
from plait.core.graph import GET, Node

_MIN_BYTES = 4 << 20  # programs that never hold more keep their order
_WORTH_IT = 0.9


@dataclass(eq=False, slots=True)
class _Task:
    """A group with what it waits for, and the temporaries that it makes and reads."""

    group: Group
    position: int
    made: int = 0
    reads: set[_Task] = field(default_factory=set)
    readers: set[_Task] = field(default_factory=set)
    needs: set[_Task] = field(default_factory=set)
    feeds: set[_Task] = field(default_factory=set)
    leaves: set[Node] = field(default_factory=set)  # inputs of the program that it reads
    overwrites: set[Node] = field(default_factory=set)  # those of them whose memory a result may take over


def schedule(groups: list[Group], outputs: Iterable[Node]) -> list[Group]:
    """Return the groups in an order that needs less memory for temporaries, or as they are.

    Of the groups that can run, the one comes next after which least memory is held (a list schedule); the result
    counts where it holds less at its worst than the order that is given.
    """
    if sum(_bytes(node) for group in groups for node in group.outputs) < _MIN_BYTES:
        return groups
    tasks = _tasks(groups, set(outputs))
    given = _peak(tasks)
    found = _listed(tasks) if given >= _MIN_BYTES else tasks
    is_better = _peak(found) < _WORTH_IT * given
    for task in tasks:  # they refer to each other, and to nodes that get values: that must not wait for a collection
        task.reads, task.readers, task.needs, task.feeds = set(), set(), set(), set()
    return [task.group for task in found] if is_better else groups


def _memory(node: Node) -> Node:
    """The node whose result a node is another name of."""
    while node.prim is GET:
        producer = node.inputs[0]
        if producer.prim.name != "barrier":
            return producer
        node = producer.inputs[node.params["index"]]
    return node


def _bytes(node: Node) -> int:
    return sum(prod(n if isinstance(n, int) else n.hint for n in a.shape) * a.dtype.itemsize for a in node.avals)


def _tasks(groups: Sequence[Group], outputs: set[Node]) -> list[_Task]:
    tasks = [_Task(group, position) for position, group in enumerate(groups)]
    home = {node: task for task in tasks for node in task.group.outputs}
    kept = {_memory(node) for node in outputs}
    for task in tasks:
        group = task.group
        is_barrier = group.anchor is not None and group.anchor.prim.name == "barrier"
        task.made = 0 if is_barrier else sum(_bytes(o) for o in group.outputs if o not in kept)
        for node in {i for member in group.members for i in member.inputs}:
            before = home.get(node.inputs[0] if node.prim is GET else node)
            if before is not None and before is not task:
                task.needs.add(before)
                before.feeds.add(task)
            maker = home.get(_memory(node))
            if maker is not None and maker is not task and not is_barrier:
                task.reads.add(maker)
                maker.readers.add(task)
            if maker is None and not node.inputs:
                task.leaves.add(node)
        results = {o.aval for o in group.outputs if o in kept}
        task.overwrites = {leaf for leaf in task.leaves if leaf.aval in results}
    return tasks


def _peak(tasks: Sequence[_Task]) -> int:
    waiting = {task: len(task.readers) for task in tasks}
    held = worst = 0
    for task in tasks:
        held += task.made
        worst = max(worst, held)
        held -= _released(task, waiting)
    return worst


def _released(task: _Task, waiting: dict[_Task, int]) -> int:
    released = 0
    for maker in task.reads:
        waiting[maker] -= 1
        released += 0 if waiting[maker] else maker.made
    return released


def _listed(tasks: Sequence[_Task]) -> list[_Task]:
    readers = {task: len(task.readers) for task in tasks}
    missing = {task: len(task.needs) for task in tasks}
    leaves = Counter(leaf for task in tasks for leaf in task.leaves)
    writers: dict[Node, list[_Task]] = {}
    for task in tasks:
        for leaf in task.overwrites:
            writers.setdefault(leaf, []).append(task)

    def urgency(task: _Task) -> tuple[bool, int, int]:
        """What may be written over an input waits for its other readers; then by how much more memory is held."""
        growth = task.made - sum(maker.made for maker in task.reads if readers[maker] == 1)
        return any(leaves[leaf] > 1 for leaf in task.overwrites), growth, task.position

    queue = [urgency(task) for task in tasks if not missing[task]]  # what became more urgent is in it twice
    heapify(queue)
    done: dict[_Task, None] = {}
    while queue:
        task = tasks[heappop(queue)[2]]
        if task in done:
            continue
        done[task] = None
        changed: list[_Task] = []
        for maker in task.reads:
            readers[maker] -= 1
            changed += maker.readers if readers[maker] == 1 else ()
        for leaf in task.leaves:
            leaves[leaf] -= 1
            changed += writers.get(leaf, ()) if leaves[leaf] == 1 else ()
        for following in task.feeds:
            missing[following] -= 1
            changed.append(following)
        for other in changed:
            if not missing[other] and other not in done:
                heappush(queue, urgency(other))
    return list(done)
