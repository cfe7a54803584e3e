import threading

from packhound.processor.intake.queue import BatchQueue
from tests.support.batches import batch_of, udp_packet


def numbered(sequence: int):
    return batch_of([udp_packet()] * 3, sequence=sequence)


def test_batches_come_out_in_order_and_the_queue_knows_what_is_in_flight():
    queue = BatchQueue()
    for sequence in (1, 2):
        assert queue.put(numbered(sequence))
    assert (len(queue), queue.packets, queue.bytes) == (2, 6, 2 * len(numbered(1).blob))
    queue.close()
    assert [batch.sequence for batch in queue] == [1, 2]
    assert (len(queue), queue.packets, queue.bytes) == (0, 0, 0)


def test_a_full_queue_says_no_or_waits():
    queue = BatchQueue(max_batches=1)
    assert queue.put(numbered(1), timeout=0)
    assert not queue.put(numbered(2), timeout=0)
    taker = threading.Thread(target=queue.get)
    taker.start()
    assert queue.put(numbered(2), timeout=2)
    taker.join()


def test_bytes_bound_too_but_one_batch_always_fits():
    queue = BatchQueue(max_bytes=10)
    assert queue.put(numbered(1), timeout=0)
    assert not queue.put(numbered(2), timeout=0)


def test_closing_wakes_a_sender_and_a_receiver():
    queue = BatchQueue(max_batches=1)
    queue.put(numbered(1))
    answers = []
    sender = threading.Thread(target=lambda: answers.append(queue.put(numbered(2))))
    sender.start()
    queue.close()
    sender.join(2)
    assert answers == [False]
    assert queue.get()
    assert queue.get() is None
