"""Python's multiprocessing.Pool, asked line by line: an operation and its numbers in, a line of numbers out.

Times are in nanoseconds, and are measured here.
"""

import multiprocessing
import os
import sys
import time
from multiprocessing import resource_tracker
from typing import NamedTuple, Optional

clock = time.perf_counter_ns


class Record(NamedTuple):
    name: str
    score: float
    tag: Optional[int]


def increment(number):
    return number + 1


def touch(record):
    return record._replace(score=record.score + 1.0)


def echo(data):
    return data


def process_id():
    return os.getpid()


def work(steps):
    state = steps | 1
    for _ in range(steps):
        state = (state ^ (state >> 29)) * 6364136223846793005 & 0xFFFFFFFFFFFFFFFF
    return state


def steps_per_us():
    steps, best = 20_000, float("inf")
    for _ in range(5):
        start = clock()
        work(steps)
        best = min(best, clock() - start)
    return steps / (best / 1000)


known_memory = {}


def part_of(name, kind, start, end):
    """A part of an array in shared memory, which each worker opens once."""
    import numpy
    from multiprocessing import shared_memory

    if name not in known_memory:
        known_memory[name] = shared_memory.SharedMemory(name=name)
    memory = known_memory[name]
    return numpy.ndarray((memory.size // 8,), dtype=kind, buffer=memory.buf)[start:end]


def sum_part(*place):
    return float(part_of(*place).sum())


def sqrt_part(*place):
    import numpy

    part = part_of(*place)
    numpy.sqrt(part, out=part)
    return len(part)


def square_part(*place):
    part = part_of(*place)
    part *= part
    return len(part)


class Bench:
    pool = None
    memory = None

    def open(self, workers):
        # Before the fork: workers with a tracker of their own would take the segments that they open for leaks.
        resource_tracker.ensure_running()
        start = clock()
        self.pool = multiprocessing.get_context("fork").Pool(workers)
        self.pool.apply(increment, (1,))
        return [clock() - start]

    def close(self):
        start = clock()
        self.pool.close()
        self.pool.join()
        return [clock() - start]

    def calls(self, count, pause_ns):
        times = []
        for number in range(count):
            if pause_ns:
                time.sleep(pause_ns / 1e9)
            start = clock()
            result = self.pool.apply(increment, (number,))
            times.append(clock() - start)
            assert result == number + 1
        return times

    def jobs(self, count):
        start = clock()
        jobs = [self.pool.apply_async(increment, (number,)) for number in range(count)]
        results = [job.get() for job in jobs]
        return [clock() - start, sum(results)]

    def map_numbers(self, count):
        return self._map(increment, range(count), lambda result: result)

    def map_numbers_singly(self, count):
        return self._map(increment, range(count), lambda result: result, chunksize=1)

    def imap_numbers(self, count):
        start = clock()
        total = sum(self.pool.imap(increment, range(count)))
        return [clock() - start, total]

    def map_records(self, count):
        records = [Record(f"record {i}", float(i), i if i % 2 == 0 else None) for i in range(count)]
        return self._map(touch, records, lambda r: len(r.name) + int(r.score) + (r.tag or 0))

    def echo(self, count):
        data = (bytes(range(251)) * (count // 251 + 1))[:count]
        start = clock()
        result = self.pool.apply(echo, (data,))
        elapsed = clock() - start
        assert result == data
        return [elapsed]

    def work(self, *times_ns):
        """The same time for each item, by this language's clock: serial, then by the pool."""
        rate = steps_per_us() / 1000
        steps = [max(1, round(time * rate)) for time in times_ns]
        start = clock()
        expected = sum(map(work, steps))
        serial = clock() - start
        parallel, result = self._map(work, steps, lambda result: result)
        assert result == expected & 0xFFFFFFFFFFFFFFFF
        return [serial, parallel]

    def hold(self, count, is_integer):
        from multiprocessing import shared_memory

        self.memory = shared_memory.SharedMemory(create=True, size=count * 8)
        self.kind, self.count = ("u8" if is_integer else "f8"), count
        known_memory[self.memory.name] = self.memory
        part_of(self.memory.name, self.kind, 0, count)[:] = 1
        return []

    def drop_held(self):
        known_memory.clear()
        self.memory.close()
        self.memory.unlink()
        return []

    def sum_held(self, part):
        return self._over_parts(sum_part, part)

    def sqrt_held(self, part):
        return self._over_parts(sqrt_part, part)

    def square_held(self, part):
        return self._over_parts(square_part, part)

    def _over_parts(self, function, part):
        ends = [(start, min(start + part, self.count)) for start in range(0, self.count, part)]
        start = clock()
        results = self.pool.starmap(function, [(self.memory.name, self.kind, *place) for place in ends])
        return [clock() - start, int(sum(results))]

    def pid(self):
        return [self.pool.apply(process_id)]

    def _map(self, function, items, digest, **options):
        start = clock()
        results = self.pool.map(function, items, **options)
        elapsed = clock() - start
        return [elapsed, sum(map(digest, results)) & 0xFFFFFFFFFFFFFFFF]


if __name__ == "__main__":
    bench = Bench()
    for line in sys.stdin:
        operation, *numbers = line.split()
        print(*getattr(bench, operation)(*map(int, numbers)), flush=True)
