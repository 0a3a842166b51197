"""Motion on videos whose motion is known, and on real ones."""

import numpy as np
import pytest

from refilm.errors import UserError
from refilm.evaluation.flow import Dis, scaled
from refilm.evaluation.metrics import create
from refilm.evaluation.metrics.motion import fastest

from ..samples import photograph, real_video, sample


@pytest.fixture(scope="module")
def motion():
    return create("motion")


def moving(pixels: int, frames: int = 9, *, noise: float = 0) -> np.ndarray:
    """A window of 256 x 256 pixels that moves right over a photograph by some pixels in each frame."""
    image = photograph("astronaut", 512)
    video = np.stack([image[100:356, pixels * i : pixels * i + 256] for i in range(frames)])
    jitter = np.random.default_rng(0).normal(0, noise, video.shape)
    return (video + jitter).clip(0, 255).astype(np.uint8)


def means(metric, frames, fps=8.0):
    return {name: float(np.mean(values)) for name, values in metric.score(sample(frames, fps=fps)).items()}


@pytest.mark.parametrize("pixels", [2, 5, 10])
def test_speed_is_known(motion, pixels):
    """In shorter sides per second, at 8 frames per second."""
    assert means(motion, moving(pixels))["speed"] == pytest.approx(pixels * 8 / 256, rel=0.15)


def test_speed_does_not_depend_on_size_and_rate(motion):
    large = means(motion, moving(6))
    small = means(motion, moving(6)[:, ::2, ::2])
    twice = means(motion, moving(3, 17), fps=16)
    assert small["speed"] == pytest.approx(large["speed"], rel=0.15)
    assert twice["speed"] == pytest.approx(large["speed"], rel=0.15)


@pytest.mark.parametrize(
    ("pixels", "fps", "dynamic"), [(0, 8, 0), (4, 8, 0), (9, 8, 1), (9, 4, 0), (18, 4, 1), (9, 16, 1), (2, 16, 0)]
)
def test_a_video_is_dynamic_above_the_limit_of_vbench(motion, pixels, fps, dynamic):
    """6 pixels of 256 at 8 frames per second; 12 at 4. At 16, every second frame is used."""
    assert means(motion, moving(pixels), fps)["dynamic_degree"] == dynamic


@pytest.mark.parametrize(("steps", "dynamic"), [(3, 0), (4, 1)])
def test_a_quarter_of_the_frames_must_move(motion, steps, dynamic):
    moved = moving(10, 17)
    video = np.concatenate([moved[: steps + 1], np.repeat(moved[steps : steps + 1], 16 - steps, 0)])
    assert means(motion, video)["dynamic_degree"] == dynamic  # 4 of 17


def test_the_fastest_pixels_count():
    flow = np.zeros((10, 20, 2), np.float32)
    flow[0, :10] = 3, 4  # 10 of 200: 5 %
    flow[0, 10] = 0, 2
    assert fastest(flow) == pytest.approx(5)


def test_a_still_is_smooth_and_not_dynamic(motion):
    still = motion.score(sample(moving(0)))
    assert still["dynamic_degree"] == 0
    assert still["speed"] == [0] * 8
    assert still["smoothness"] == [1] * 4


def test_the_frame_between_is_the_one_that_was_there():
    """Repeating or averaging the neighbors is far worse."""
    video = moving(6, 3)
    made = Dis().between(video[0], video[2])
    inner = np.s_[16:-16, 16:-16]

    def error(guess: np.ndarray) -> float:
        return float(np.abs(guess[inner].astype(float) - video[1][inner]).mean())

    assert error(made) < 2
    assert error(video[[0, 2]].mean(0)) > 4 * error(made)


def test_flow_points_right_and_down():
    image = photograph("astronaut", 256)
    flow = Dis()(image, np.roll(image, (3, 5), (0, 1)))
    assert np.median(flow.reshape(-1, 2), 0).tolist() == pytest.approx([5, 3], abs=0.2)


@pytest.mark.parametrize("name", ["bikes", "carphone_pristine"])
def test_shuffled_frames_are_caught(motion, name):
    frames, fps = real_video(name)
    shuffled = frames[np.random.default_rng(0).permutation(len(frames))]
    real, worse = means(motion, frames, fps), means(motion, shuffled, fps)
    assert 1 - worse["smoothness"] > 1.5 * (1 - real["smoothness"])


def test_jitter_is_less_smooth(motion):
    assert means(motion, moving(3, noise=8))["smoothness"] < means(motion, moving(3))["smoothness"] - 0.01


def test_too_few_frames_are_named(motion):
    with pytest.raises(UserError, match="case: motion needs at least 3 frames, the video has 2"):
        motion.score(sample(moving(1, 2)))


def test_slow_and_short_videos_have_a_pair(motion):
    assert len(motion.score(sample(moving(9, 3), fps=60))["speed"]) == 1


@pytest.mark.parametrize(("pixels", "dynamic"), [(3, 1), (1, 0)])
def test_a_video_that_is_shorter_than_a_pair_has_its_speed(motion, pixels, dynamic):
    """At 32 frames per second, every fourth frame is used; 3 frames are half of that, so half of the limit counts."""
    found = means(motion, moving(pixels, 3), fps=32)
    assert found["speed"] == pytest.approx(pixels * 32 / 256, rel=0.25)
    assert found["dynamic_degree"] == dynamic


def test_frames_are_scaled_to_their_shorter_side():
    assert scaled(np.zeros((32, 48, 3), np.uint8)).shape == (256, 384, 3)
    assert scaled(np.zeros((720, 512, 3), np.uint8)).shape == (360, 256, 3)


def test_the_identity_names_the_flow(motion):
    assert motion.identity["flow"].startswith("DIS, preset medium, OpenCV ")
