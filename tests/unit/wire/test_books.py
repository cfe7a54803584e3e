from packhound.wire.books import Books


def balanced() -> Books:
    books = Books()
    account = books.sensor("a")
    account.seen, account.unmatched, account.matched = 20, 8, 9
    account.kernel_dropped["kernel"], account.shed["budget"], account.sampled_out = 1, 1, 1
    books.filter("n/f").matched = 9
    books.settle("a", {("n/f",): 5}, "recorded")
    books.settle("a", {("n/f",): 3}, "processed_only")
    books.settle("a", {("n/f",): 1}, "lost", cause="disk_full")
    return books


def test_books_that_balance_have_residual_0():
    books = balanced()
    assert books.residual() == 0
    assert list(books.residuals()) == []
    assert books.as_dict()["sensors"]["a"]["lost"] == {"disk_full": 1}


def test_a_packet_that_vanishes_shows_in_the_line_where_it_vanished():
    books = balanced()
    books.sensor("a").recorded -= 1
    assert dict(books.residuals()) == {"sensor a": (0, 0, 1)}
    books.sensor("a").seen += 2
    assert books.residual() == 3


def test_a_filter_balances_by_itself():
    books = balanced()
    books.filter("n/f").matched += 1
    assert dict(books.residuals()) == {"filter n/f": (0, 1, 0)}


def test_a_packet_wanted_by_two_filters_counts_once_for_the_sensor_and_once_for_each():
    books = Books()
    books.settle("a", {("n/f", "n/g"): 4}, "recorded")
    assert books.sensor("a").recorded == books.filter("n/f").recorded == books.filter("n/g").recorded == 4


def test_resent_packets_balance_as_duplicates():
    books = balanced()
    books.sensor("a").resent += 5
    books.filter("n/f").resent += 5
    books.settle("a", {("n/f",): 5}, "duplicates_dropped")
    assert books.residual() == 0


def test_both_sides_of_a_fleet_add_up():
    left, right = Books(), Books()
    left.sensor("a").seen = left.sensor("a").matched = 3
    left.filter("n/f").matched = 3
    right.settle("a", {("n/f",): 3}, "recorded")
    assert left.residual()
    left.add(right)
    assert left.residual() == 0
