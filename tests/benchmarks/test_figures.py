"""The suite's arithmetic: medians, quartiles, ratios and percentiles, and the tables that they end in."""

import json

import pytest

from benchmarks import report
from benchmarks.figures import BUCKET_RATIO, Spread, added, percentile_us, ratios, spread
from benchmarks.report import Results
from benchmarks.servers import COMPILED, COMPILED_TRACED, FLOOR, OURS, TRACED
from benchmarks.slices import Measured, Slice
from benchmarks.workloads import WORKLOADS, takes_part


def measured(**costs_s: list[float]) -> Measured:
    names = {"ours": OURS, "floor": FLOOR, "raw": report.RAW, "compiled": COMPILED, "traced": TRACED, "compiled_traced": COMPILED_TRACED}
    found = Measured(names[name] for name in costs_s)
    for name, costs in costs_s.items():
        found.same_core[names[name]] = [Slice(cost_s, 2.0, 1_000_000, 1.0) for cost_s in costs]
        found.two_cores[names[name]] = [Slice(cost_s, 1.0, 1_000_000, 0.5, 0, {100: 99, 200: 1}) for cost_s in costs]
    return found


def test_a_spread_is_the_median_between_its_quartiles() -> None:
    assert spread([5, 1, 4, 2, 3]) == Spread(2, 3, 4)


def test_one_value_is_its_own_spread() -> None:
    assert spread([7.0]) == Spread(7.0, 7.0, 7.0)


def test_a_ratio_is_taken_within_the_round_so_that_a_noisy_spell_that_hits_both_does_not_show() -> None:
    calm_then_noisy = [1.0, 1.0, 9.0]
    assert ratios([1.2, 1.2, 10.8], calm_then_noisy) == pytest.approx(Spread(1.2, 1.2, 1.2))


def test_slices_that_do_not_pair_are_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_a_percentile_is_the_upper_edge_of_the_bucket_that_reaches_it() -> None:
    buckets = {200: 1, 100: 99}
    assert percentile_us(buckets, 0.99) == pytest.approx(BUCKET_RATIO**101)
    assert percentile_us(buckets, 0.999) == pytest.approx(BUCKET_RATIO**201)


def test_no_latencies_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no latencies"):
        percentile_us({}, 0.5)


def test_histograms_add_up() -> None:
    assert added([{1: 2, 3: 4}, {3: 1}]) == {1: 2, 3: 5}


def test_cost_is_a_multiple_of_the_floor_and_microseconds_a_message() -> None:
    found = measured(ours=[3.0, 3.0, 3.0], floor=[2.0, 2.0, 2.0])
    assert found.times_floor(OURS).median == pytest.approx(1.5)
    assert found.us(OURS).median == pytest.approx(3.0)
    assert found.per_second(OURS).median == pytest.approx(2_000_000)


def test_the_table_begins_with_the_cheapest_and_says_the_quartiles() -> None:
    text = report.cost("b", measured(ours=[3.0, 3.0, 4.0], floor=[2.0, 2.0, 2.0]))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[4:]]
    assert rows == [[FLOOR, "1.00", "1.00 to 1.00", "2.00", "2.00"], [OURS, "1.50", "1.50 to 1.75", "3.00", "3.00"]]


def test_the_columns_of_a_table_line_up() -> None:
    lines = report.table(["server", "µs"], [["a", "1"], ["longer than the head", "1,000"]]).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_tables_replace_those_between_the_marks_of_a_page() -> None:
    page = f"above\n{report.BEGIN}\nold\n{report.END}\nbelow\n"
    assert report.between_marks(page, "new") == f"above\n{report.BEGIN}\n\nnew\n\n{report.END}\nbelow\n"


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="the page has no"):
        report.between_marks("a page", "new")


def test_results_come_back_from_their_file_as_they_were() -> None:
    results = Results()
    results.workloads["b"] = measured(ours=[3.0], floor=[2.0])
    results.idle[10] = measured(floor=[2.0])
    results.memory_bytes = {OURS: 1000.0}
    results.import_ms = results.listening_ms = Spread(1, 2, 3)
    kept = json.loads(json.dumps(results.data()))
    assert list(report.everything(Results.of(kept))) == list(report.everything(results))
    assert Results.of(kept).workloads["b"].two_cores == results.workloads["b"].two_cores


def test_starting_without_words_is_reported_if_it_could_be_measured() -> None:
    results = Results()
    results.import_ms = results.listening_ms = Spread(1, 2, 3)
    assert "`python -m fsmserver`, from" not in report.start(results)
    results.bare_listening_ms = Spread(4, 5, 6)
    assert "| `python -m fsmserver`, from start to listening" in report.start(results)
    assert "5 (4 to 6)" in report.start(Results.of(json.loads(json.dumps(results.data()))))


def test_the_compiled_build_takes_part_wherever_the_pure_one_does() -> None:
    assert all(takes_part(COMPILED, letter) == takes_part(OURS, letter) for letter in WORKLOADS)


def test_what_a_message_is_made_of_and_what_a_trace_costs_have_the_compiled_build_if_it_was_measured() -> None:
    found = measured(ours=[4.0], floor=[2.0], raw=[3.0])
    found.user_share = dict.fromkeys([OURS, FLOOR, report.RAW, COMPILED], 0.5)
    assert "compiled" not in report.made_of(found)
    found = measured(ours=[4.0], floor=[2.0], raw=[3.0], compiled=[2.5])
    found.user_share = dict.fromkeys([OURS, FLOOR, report.RAW, COMPILED], 0.5)
    assert "| or fsmserver compiled: what that adds to the C loop |    +0.25 | +0.50 |" in report.made_of(found)
    assert report.trace(measured(ours=[2.0], traced=[3.0])) == "The trace costs +50% of server CPU in b."
    both = measured(ours=[2.0], traced=[3.0], compiled=[1.0], compiled_traced=[1.2])
    assert report.trace(both) == "The trace costs +50% of server CPU in b, and +20% of the compiled build's."


@pytest.mark.parametrize("traced", [TRACED, COMPILED_TRACED])
def test_the_traced_server_takes_part_in_its_own_workload_only(traced: str) -> None:
    assert [letter for letter in WORKLOADS if takes_part(traced, letter)] == ["i"]
    assert not takes_part("trio", "i")


def test_ten_thousand_threads_are_not_started() -> None:
    assert takes_part("threads", "c")
    assert not takes_part("threads", "g")
