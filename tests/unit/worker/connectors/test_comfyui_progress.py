from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from muster.simulation.comfyui.workflow import text_to_image
from muster.worker.connectors.comfyui.progress import Progress

nodes = st.sampled_from([*text_to_image(), "3.0.1", None])
numbers = st.none() | st.integers() | st.floats()
frames = st.one_of(
    st.tuples(st.just("execution_cached"), st.fixed_dictionaries({"nodes": st.lists(nodes)})),
    st.tuples(
        st.sampled_from(["executing", "executed"]),
        st.fixed_dictionaries({"node": nodes}, optional={"display_node": nodes}),
    ),
    st.tuples(st.just("progress"), st.fixed_dictionaries({"value": numbers, "max": numbers})),
    st.tuples(st.sampled_from(["status", "progress_state"]), st.just({})),
)


@given(story=st.lists(frames))
def test_whatever_frames_say_the_fraction_stays_in_bounds_and_never_decreases(
    story: list[tuple[str, dict[str, Any]]],
) -> None:
    progress = Progress(text_to_image())
    told = [progress.fraction]
    for event, data in story:
        progress.saw(event, data)
        told.append(progress.fraction)

    assert all(0 <= fraction <= 1 for fraction in told)
    assert told == sorted(told)


def test_nodes_count_alike_and_the_current_one_by_its_steps() -> None:
    graph = {str(number): {"class_type": f"Class{number}"} for number in range(4)}
    progress = Progress(graph)

    progress.saw("execution_cached", {"nodes": ["0"]})
    assert progress.fraction == 0.25

    progress.saw("executing", {"node": "1"})
    progress.saw("progress", {"value": 1, "max": 2})
    assert progress.fraction == 0.375
    assert progress.message == "Class1 1/2"

    progress.saw("executing", {"node": "2"})
    assert progress.fraction == 0.5
    progress.saw("executed", {"node": "2", "output": {}})
    assert progress.fraction == 0.75


def test_what_says_nothing_of_progress_is_not_reported() -> None:
    assert not Progress(text_to_image()).saw("status", {})
