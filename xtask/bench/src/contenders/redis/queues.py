"""Celery, RQ or Dask, asked line by line: an operation and its words in, a line of numbers out.

Times are in nanoseconds, and are measured here. Workers import this file as a module.
"""

import os
import subprocess
import sys
import time

clock = time.perf_counter_ns
CHUNK = 10_000


def increment(number):
    return number + 1


def increment_part(first, last):
    return [number + 1 for number in range(first, last)]


def nap(ms):
    time.sleep(ms / 1000)
    return ms


def chunks(count):
    return [(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]


if "BENCH_CELERY" in os.environ:
    from celery import Celery

    socket = os.environ["BENCH_CELERY"]
    app = Celery("queues", broker=f"redis+socket://{socket}", backend=f"redis+socket://{socket}?virtual_host=1")
    app.conf.update(task_acks_late=True, broker_connection_retry_on_startup=True)
    celery_increment = app.task(increment, name="increment")
    celery_part = app.task(increment_part, name="increment_part")
    celery_nap = app.task(nap, name="nap")


class OverCelery:
    calls_max = 2_000

    def __init__(self, socket, workers):
        os.environ["BENCH_CELERY"] = socket
        sys.modules.pop("queues")
        import queues

        self.tasks = queues
        command = [sys.executable, "-m", "celery", "-A", "queues", "worker", "--concurrency", str(workers)]
        quiet = ["--loglevel", "error", "--without-gossip", "--without-mingle"]
        self.workers = [subprocess.Popen(command + quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]

    def call(self, number):
        return self.tasks.celery_increment.delay(number).get(timeout=60)

    def map_parts(self, parts):
        results = [self.tasks.celery_part.delay(*part) for part in parts]
        return [result.get(timeout=60) for result in results]

    def map_naps(self, count):
        results = [self.tasks.celery_nap.delay(1) for _ in range(count)]
        return [result.get(timeout=60) for result in results]


class OverRq:
    calls_max = 200

    def __init__(self, socket, workers):
        import redis
        import rq

        self.queue = rq.Queue(connection=redis.Redis(unix_socket_path=socket))
        command = [sys.executable, "-m", "rq.cli", "worker", "--quiet", "--url", f"unix://{socket}"]
        start = lambda: subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.workers = [start() for _ in range(workers)]

    def result(self, job):
        return job.latest_result(timeout=60).return_value

    def call(self, number):
        return self.result(self.queue.enqueue("queues.increment", number))

    def map_parts(self, parts):
        jobs = [self.queue.enqueue("queues.increment_part", *part) for part in parts]
        return [self.result(job) for job in jobs]

    def map_naps(self, count):
        jobs = [self.queue.enqueue("queues.nap", 1) for _ in range(count)]
        return [self.result(job) for job in jobs]


class OverDask:
    calls_max = 300

    def __init__(self, _socket, workers):
        import dask.distributed as distributed

        cluster = distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
        self.client = distributed.Client(cluster)
        self.workers = []

    def call(self, number):
        return self.client.submit(increment, number, pure=False).result()

    def map_parts(self, parts):
        futures = [self.client.submit(increment_part, *part, pure=False) for part in parts]
        return self.client.gather(futures)

    def map_naps(self, count):
        return self.client.gather(self.client.map(nap, [1] * count, pure=False))


class Bench:
    def open(self, kind, socket, workers):
        self.over = {"celery": OverCelery, "rq": OverRq, "dask": OverDask}[kind](socket, int(workers))
        assert self.over.call(1) == 2
        return [0]

    def close(self):
        for worker in self.over.workers:
            worker.kill()
            worker.wait()
        return [0]

    def calls(self, count):
        times = []
        for number in range(min(int(count), self.over.calls_max)):
            start = clock()
            result = self.over.call(number)
            times.append(clock() - start)
            assert result == number + 1
        return times

    def map_numbers(self, count):
        start = clock()
        results = self.over.map_parts(chunks(int(count)))
        return [clock() - start, sum(map(sum, results))]

    def map_naps(self, count):
        start = clock()
        results = self.over.map_naps(int(count))
        return [clock() - start, sum(results)]


def main():
    bench = Bench()
    for line in sys.stdin:
        operation, *words = line.split()
        print(*getattr(bench, operation)(*words), flush=True)
