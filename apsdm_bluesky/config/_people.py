"""Who may log in to the Tiled server. No secret ever stands here: it comes from a file or the environment."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ._base import Model, Positive

Provider = Literal["password_file", "pam", "ldap", "oidc"]
HttpUri = Annotated[str, Field(pattern=r"^https?://[^/\s?#]+")]


class PamConfig(Model):
    """People with an account on this machine."""

    service: str = Field("login", description="the PAM service that checks passwords")


class LdapConfig(Model):
    """People of a directory. The names are those of Tiled's LDAPAuthenticator."""

    server_address: Annotated[tuple[str, ...], Field(min_length=1)]
    server_port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        None, description="default: 636 with use_ssl, else 389"
    )
    use_ssl: bool = False
    use_tls: bool = Field(True, description="StartTLS; without it and use_ssl passwords travel readable")
    connect_timeout: Positive = Field(5, description="[s]")
    receive_timeout: Positive = Field(60, description="[s]")
    bind_dn_template: tuple[str, ...] = Field((), description="such as uid={username},ou=people,dc=example")
    allowed_groups: tuple[str, ...] = Field((), description="DNs; none: everybody of the directory")
    lookup_dn: bool = Field(False, description="find the DN by a search, not by the template alone")
    lookup_dn_search_filter: str = "({login_attr}={login})"
    lookup_dn_search_user: str | None = None
    lookup_dn_user_dn_attribute: str | None = None
    user_search_base: str | None = None
    user_attribute: str | None = None
    secret_file: Path | None = Field(
        None, description="password of lookup_dn_search_user, mode 0600; default: APSDM_LDAP_PASSWORD"
    )

    @model_validator(mode="after")
    def _finds_people(self) -> "LdapConfig":
        if not self.bind_dn_template and not self.lookup_dn:
            raise ValueError("give bind_dn_template, or lookup_dn with what it needs")
        return self


class OidcConfig(Model):
    """People of an OpenID Connect provider. The names are those of Tiled's OIDCAuthenticator."""

    audience: str
    client_id: str
    well_known_uri: HttpUri
    user_id_claim: str = Field("sub", description="the claim that is a person's name here")
    public_uri: HttpUri = Field(description="where browsers reach this server; they come back there")
    secret_file: Path | None = Field(
        None, description="file with the client's secret, mode 0600; default: APSDM_OIDC_SECRET"
    )


class PeopleConfig(Model):
    """Who may log in, and who is staff."""

    provider: Provider = Field("password_file", description="who checks passwords")
    staff: tuple[str, ...] = Field((), description="they see everybody's jobs, others their own")
    pam: PamConfig = PamConfig()
    ldap: LdapConfig | None = None
    oidc: OidcConfig | None = None

    @model_validator(mode="after")
    def _provider_is_described(self) -> "PeopleConfig":
        if self.provider in ("ldap", "oidc") and getattr(self, self.provider) is None:
            raise ValueError(f"provider is {self.provider}, but the group {self.provider} is missing")
        return self
