"""What the API refuses although a page is mounted beside it, which would answer everything."""

import pytest
from fastapi.testclient import TestClient
from starlette.responses import PlainTextResponse

from refilm.serving import ServedModel, ServerOptions
from refilm.serving.api.app import create_app


@pytest.fixture
def client(store):
    app = create_app(store, ServerOptions(ServedModel.of("pocket")))
    app.mount("/", PlainTextResponse("the page"))
    return TestClient(app, base_url="http://127.0.0.1")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("TRACE", "/health", "GET"),
        ("DELETE", "/v1/models", "GET"),
        ("PUT", "/v1/videos", "GET, POST"),
        ("PATCH", "/v1/videos/video_1", "DELETE, GET"),
        ("POST", "/v1/videos/video_1/content", "GET, HEAD"),
        ("TRACE", "/v1/videos/characters", "GET, POST"),
        ("QUERY", "/metrics", "GET"),
        ("NEWER", "/v1/videos/characters/char_1", "DELETE, GET"),
    ],
)
def test_other_methods_are_refused_by_the_api(client, method, path, allowed):
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_other_paths_are_refused_by_the_api_and_the_rest_is_the_pages(client):
    for method in ("GET", "POST", "QUERY"):
        assert client.request(method, "/v1/nothing/at/all").json()["error"]["code"] == "not_found"
    assert client.get("/v1/models").json()["data"][0]["id"] == "pocket"
    assert client.get("/anything").text == "the page"
    assert all("{path}" not in path for path in client.get("/openapi.json").json()["paths"])
