"""Globus Auth: a service account, and a person who logs in."""

import pytest
from globus_sdk import (
    AccessTokenAuthorizer,
    AuthAPIError,
    AuthClient,
    ConfidentialAppAuthClient,
    GlobusAppConfig,
    NativeAppAuthClient,
    TransferClient,
    UserApp,
)
from globus_sdk.gare import GlobusAuthorizationParameters
from globus_sdk.login_flows import LoginFlowManager
from globus_sdk.token_storage import MemoryTokenStorage
from globus_sdk.transport import RetryConfig

from tests.waiting import wait_for

from .globus_client import refused, transfer_client

TRANSFER = "urn:globus:auth:scope:transfer.api.globus.org:all"


@pytest.fixture
def service(globus):
    return ConfidentialAppAuthClient(globus.client_id, globus.client_secret)


def denied(call, *args, **kwargs):
    with pytest.raises(AuthAPIError) as caught:
        call(*args, **kwargs)
    return caught.value


def test_service_account(globus, service):
    granted = service.oauth2_client_credentials_tokens([TRANSFER, "openid"])
    token = granted.by_resource_server["transfer.api.globus.org"]
    assert token["scope"] == TRANSFER
    assert granted["expires_in"] == 172_800
    known = service.post(
        "/v2/oauth2/token/introspect", data={"token": token["access_token"]}, encoding="form"
    )
    assert (known["active"], known["username"]) == (True, f"{globus.client_id}@clients.auth.globus.org")
    assert granted.decode_id_token()["sub"] == globus.client_id
    openid = granted.by_resource_server["auth.globus.org"]["access_token"]
    assert AuthClient(authorizer=AccessTokenAuthorizer(openid)).userinfo()["sub"] == globus.client_id
    service.oauth2_revoke_token(token["access_token"])
    gone = service.post("/v2/oauth2/token/introspect", data={"token": token["access_token"]}, encoding="form")
    assert gone["active"] is False
    assert denied(AuthClient(authorizer=AccessTokenAuthorizer("x")).userinfo).http_status == 401


def test_wrong_secret_and_wrong_scope(globus, service):
    wrong = ConfidentialAppAuthClient(globus.client_id, "wrong")
    error = denied(wrong.oauth2_client_credentials_tokens, TRANSFER)
    assert (error.http_status, error.raw_json["error"]) == (401, "invalid_client")
    assert denied(service.oauth2_client_credentials_tokens, "no:such:scope").http_status == 400
    native = NativeAppAuthClient(globus.native_client_id)
    form = {"grant_type": "client_credentials", "client_id": globus.native_client_id, "scope": TRANSFER}
    assert denied(native.post, "/v2/oauth2/token", data=form, encoding="form").http_status == 401


def test_token_expires(globus, service):
    globus.configure(token_lifetime_s=1)
    token = service.oauth2_client_credentials_tokens(TRANSFER)["access_token"]
    fixed = TransferClient(authorizer=AccessTokenAuthorizer(token), retry_config=RetryConfig(max_retries=0))

    def expired():
        try:
            fixed.get_submission_id()
        except fixed.error_class as error:
            return (error.http_status, error.code) == (401, "AuthenticationFailed")
        return False

    wait_for(expired)
    assert transfer_client(globus).get_submission_id()["value"]


def test_deleted_client_gets_no_token(globus, copies):
    copies.client.get_submission_id()
    globus.delete_client()
    assert refused(copies.client.get_submission_id).http_status == 401
    error = denied(lambda: transfer_client(globus).get_submission_id())
    assert error.raw_json["error"] == "invalid_client"
    globus.delete_client(deleted=False)
    assert transfer_client(globus).get_submission_id()["value"]


class Login(LoginFlowManager):
    """Logs in at the stand-in instead of in a browser."""

    def __init__(self, client, globus):
        super().__init__(client, request_refresh_tokens=True)
        self.globus, self.logins = globus, 0

    def run_login_flow(self, auth_parameters: GlobusAuthorizationParameters):
        self.logins += 1
        url = self._get_authorize_url(auth_parameters, f"{self.globus.url}/back")
        return self.login_client.oauth2_exchange_code_for_tokens(self.globus.authorize(url))


def test_person_logs_in_once_and_is_refreshed(globus, copies):
    login_client = NativeAppAuthClient(globus.native_client_id)
    login = Login(login_client, globus)
    storage = MemoryTokenStorage()
    config = GlobusAppConfig(
        request_refresh_tokens=True,
        login_flow_manager=login,
        token_storage=storage,
        token_validation_error_handler=None,
    )
    app = UserApp("tests", login_client=login_client, config=config)
    client = TransferClient(app=app, retry_config=RetryConfig(max_retries=1))
    app.login()
    path, _ = copies.file()
    client.submit_transfer(copies.data(path, "/by-a-person"))
    assert globus.tasks()[-1]["owner_string"] == "beamline@example.org"
    mine = copies.client.task_list(limit=1000)
    assert globus.tasks()[-1]["task_id"] not in {task["task_id"] for task in mine}
    globus.revoke_tokens()
    assert client.get_submission_id()["value"]
    assert login.logins == 1
    globus.revoke_tokens(refresh=True)
    assert denied(client.get_submission_id).raw_json["error"] == "invalid_grant"


def test_code_is_good_once_and_needs_its_verifier(globus):
    client = NativeAppAuthClient(globus.native_client_id)
    client.oauth2_start_flow([TRANSFER, "openid"], redirect_uri=f"{globus.url}/back")
    code = globus.authorize(client.oauth2_get_authorize_url())
    client.oauth2_exchange_code_for_tokens(code)
    assert denied(client.oauth2_exchange_code_for_tokens, code).raw_json["error"] == "invalid_grant"
    stolen = globus.authorize(client.oauth2_get_authorize_url())
    client.oauth2_start_flow([TRANSFER, "openid"], redirect_uri=f"{globus.url}/back")
    assert denied(client.oauth2_exchange_code_for_tokens, stolen).raw_json["error"] == "invalid_grant"
