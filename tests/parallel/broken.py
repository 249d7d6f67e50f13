"""Strategies that are broken on purpose, in the ways in which one breaks them by accident.

``python tests/parallel/broken.py`` says of each what notices it.
"""

from types import SimpleNamespace

import numpy as np

from minidl.parallel import async_ps, hybrid, sync
from minidl.parallel.served import ServedLayer
from minidl.parallel.virtual import INSTANT, explore
from minidl.parallel.virtual.promises import MODULES, Case, run

BROKEN = {}


def breaks(strategy, **layout):
    """Register a class of a broken strategy."""

    def register(kind):
        modules = {**MODULES, strategy: SimpleNamespace(Strategy=kind)}
        BROKEN[kind.__name__] = Case(strategy, modules=modules, optimizer="momentum", **layout)
        return kind

    return register


def serving(kind, base):
    """A strategy whose servers hold their layers in another way."""

    class Serving(base):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            for served in self.served.values():
                served.__class__ = kind

    Serving.__name__ = kind.__name__
    return Serving


def breaks_serving(base=async_ps.Strategy, **layout):
    """Register a strategy whose servers are of a broken class."""

    def register(kind):
        breaks("async", groups=2, servers=1, **layout)(serving(kind, base))
        return kind

    return register


@breaks_serving()
class LosesEveryThirdGradient(ServedLayer):
    def receive(self, group):
        if self.version % 3 == 2:
            parcel = self.parcels[group]
            self.version += 1
            self.reading[group] = parcel.version = self.version
            np.copyto(parcel.values, self.optimizer.parameters)
            return [group]
        return super().receive(group)


@breaks_serving()
class AppliesTwice(ServedLayer):
    def receive(self, group):
        self.optimizer.step(self.parcels[group].values)
        return super().receive(group)


@breaks_serving()
class AnswersBeforeItApplies(ServedLayer):
    def receive(self, group):
        before = self.optimizer.parameters.copy()
        answered = super().receive(group)
        np.copyto(self.parcels[group].values, before)
        return answered


@breaks_serving()
class CountsNoVersions(ServedLayer):
    def receive(self, group):
        self.reading[group] = self.parcels[group].version
        answered = super().receive(group)
        self.parcels[group].version = 0
        return answered


@breaks_serving(iterations=1)
class DropsTheStale(ServedLayer):
    def receive(self, group):
        return [group] if self.version > self.reading[group] else super().receive(group)


@breaks_serving(iterations=1)
class AppliesAndRecordsTwice(ServedLayer):
    def receive(self, group):
        super().receive(group)
        return super().receive(group)


@breaks_serving()
class ClaimsThatAllAreFresh(ServedLayer):
    def receive(self, group):
        self.reading[group] = self.parcels[group].version = self.version
        return super().receive(group)


@breaks_serving()
class WaitsForAll(ServedLayer):
    def receive(self, group):
        self.held.append(group)
        return self._apply() if len(self.held) == len(self.reading) else []


@breaks_serving(layers=1)
class GoesBackWhenAGroupLeaves(ServedLayer):
    def leave(self, group):
        np.copyto(self.optimizer.parameters, self.parcels[group].values)
        return super().leave(group)


@breaks_serving(iterations=1)
class AppliesLastComeFirst(ServedLayer):
    def receive(self, group):
        self.held.append(group)
        if len(self.held) < len(self.reading):
            return []
        self.held.reverse()
        return self._apply()


@breaks("async", groups=3, servers=1, layers=1)
class IgnoresItsBound(async_ps.Strategy):
    def __init__(self, *arguments, staleness_bound, **options):
        super().__init__(*arguments, **options)


BROKEN["IgnoresItsBound"].staleness_bound = 2


@breaks("sync", group_size=2)
class SumForMean(sync.Strategy):
    def _parameters_needed(self, layer):
        if layer in self.requests:
            self.requests.pop(layer).Wait()
            self.optimizers[layer].step(layer.gradient)


@breaks("sync", group_size=2)
class UpdatesByItself(sync.Strategy):
    def _gradient_ready(self, layer):
        layer.gradient *= self.group.size
        self.requests[layer] = self.group.Iallreduce(self.total, self.total.copy())


@breaks("sync", group_size=2)
class DoesNotWaitForTheSum(sync.Strategy):
    def _parameters_needed(self, layer):
        if layer in self.requests:
            layer.gradient /= float(self.total[1])
            self.optimizers[layer].step(layer.gradient)
            self.requests.pop(layer).Wait()


@breaks("sync", group_size=2)
class StartsDifferently(sync.Strategy):
    def start(self):
        for layer in self.layers:
            layer.parameters += self.comm.rank


@breaks("async", groups=2, servers=1)
class OneBufferForAllGradients(async_ps.Strategy):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        largest = self.gradients[self.layers[-1]] if self.gradients else None
        for parcel in self.gradients.values():
            parcel.message = largest.message[: parcel.message.size]
            parcel.values = parcel.message[8:].view(np.float64)


@breaks("async", groups=2, servers=1)
class SendsTheLastLayersGradient(async_ps.Strategy):
    def _gradient_ready(self, layer):
        layer.gradient[...] = self.layers[-1].gradient[0]
        super()._gradient_ready(layer)


@breaks("async", groups=2, servers=1)
class DoesNotWaitForTheAnswer(async_ps.Strategy):
    def _parameters_needed(self, layer):
        if layer in self.requests:
            np.copyto(layer.parameters, self.answers[layer].values)
            for request in self.requests.pop(layer):
                request.Wait()


@breaks("async", groups=2, servers=1)
class ForgetsItsVersion(async_ps.Strategy):
    def _gradient_ready(self, layer):
        self.answers[layer].version = 0
        super()._gradient_ready(layer)


class BelievesAnyVersion(ServedLayer):
    def receive(self, group):
        self.parcels[group].version = self.reading[group]
        return super().receive(group)


breaks_serving(ForgetsItsVersion)(BelievesAnyVersion)


@breaks("async", groups=2, servers=1)
class EndsWithTheNetworkOfAWorker(async_ps.Strategy):
    def finish(self):
        for layer in self.layers:
            self.comm.Bcast(layer.parameters, root=0)


@breaks("async", groups=2, servers=2)
class WrongServer(async_ps.Strategy):
    def step(self, batches):
        holders = list(self.holder.values())
        self.holder = dict(zip(self.layers, reversed(holders), strict=True))
        return super().step(batches)


@breaks("async", groups=2, servers=1)
class WrongTag(async_ps.Strategy):
    def step(self, batches):
        self.number = {layer: n for n, layer in enumerate(reversed(self.layers))}
        return super().step(batches)


@breaks("async", groups=2, servers=1)
class LeavesWithoutAWord(async_ps.Strategy):
    def stop(self):
        self.gather()


@breaks("hybrid", groups=2, group_size=2, servers=1)
class SendsItsOwnGradientOnly(hybrid.Strategy):
    def _gradient_ready(self, layer):
        if self.comm.rank == self.root:
            layer.gradient *= self.group.size
        self.sums[layer] = self.group.Ibcast(np.zeros(1))


@breaks("hybrid", groups=2, group_size=2, servers=1)
class TellsTheSumOfLosses(hybrid.Strategy):
    def step(self, batches):
        return super().step(batches) * self.group.size


@breaks("hybrid", groups=2, group_size=2, servers=1)
class KeepsTheAnswerToItself(hybrid.Strategy):
    def _answer_needed(self, layer):
        for request in self.requests.pop(layer):
            request.Wait()
        if self.comm.rank == self.root:
            np.copyto(layer.parameters, self.answers[layer].values)


@breaks("hybrid", groups=2, group_size=2, servers=1)
class BroadcastsInAnyOrder(hybrid.Strategy):
    def _parameters_needed(self, layer):
        if layer in self.requests:
            layers = self.layers if self.comm.rank == self.root else reversed(self.layers)
            for other in [other for other in layers if other in self.requests]:
                self._answer_needed(other)
        if layer in self.broadcasts:
            self.broadcasts.pop(layer).Wait()


@breaks("hybrid", groups=2, group_size=2, servers=1)
class DividesByTheRanksOfAllGroups(hybrid.Strategy):
    def _sum_ready(self, layer):
        if self.comm.rank == self.root:
            layer.gradient /= self.roles.groups
        super()._sum_ready(layer)


@breaks("hybrid", groups=2, group_size=2, servers=1)
class EveryoneLeaves(hybrid.Strategy):
    def stop(self):
        self.gather()
        hybrid.leave(self.comm, self.roles)


def noticed(case, machine=INSTANT):
    """Run the case in every order of arrival; return what was the first to notice something."""

    try:
        for _ in explore(lambda choose: run(case, choose, machine)):
            pass
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return None


if __name__ == "__main__":
    for name, case in BROKEN.items():
        print(f"{name:30} {noticed(case)}")
