"""The gateway's variables in each agent mode, for an emulator."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.processes import EmulatorProcess, GatewayProcess, gateway_process

VOICE = {
    "AZURE_VOICELIVE_VOICE_NAME": "en-US-BankNeural",
    "AZURE_VOICELIVE_VOICE_ENDPOINT_ID": "8f6e0a2c-0000-4000-8000-000000000000",
}
PRINCIPAL = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client", "AZURE_CLIENT_SECRET": "secret-canary"}


def original(emulator: EmulatorProcess) -> dict[str, str]:
    """Only the variables of the original description: a classic agent."""
    return {
        **VOICE,
        **PRINCIPAL,
        "AZURE_VOICELIVE_ENDPOINT": emulator.tls_address,
        "AZURE_VOICELIVE_PROJECT_NAME": "sales",
        "AZURE_VOICELIVE_AGENT_ID": "asst_1",
        "AZURE_VOICELIVE_API_KEY": "key-canary",
    }


def by_name(emulator: EmulatorProcess) -> dict[str, str]:
    """A Foundry agent by name."""
    return {
        **VOICE,
        **PRINCIPAL,
        "AZURE_VOICELIVE_ENDPOINT": emulator.tls_address,
        "AZURE_VOICELIVE_PROJECT_NAME": "sales",
        "AZURE_VOICELIVE_AGENT_NAME": "telesales",
    }


def model(emulator: EmulatorProcess) -> dict[str, str]:
    """A model without an agent."""
    return {
        "AZURE_VOICELIVE_ENDPOINT": emulator.address,
        "AZURE_VOICELIVE_MODEL": "gpt-4.1",
        "AZURE_VOICELIVE_API_KEY": "key-canary",
        "AZURE_VOICELIVE_VOICE_TYPE": "azure-standard",
        "AZURE_VOICELIVE_VOICE_NAME": "en-US-AvaNeural",
    }


@contextmanager
def gateway_for(emulator: EmulatorProcess, variables: dict[str, str]) -> Iterator[GatewayProcess]:
    """The gateway with these variables, trusting the emulator as its sign-in service."""
    trust = {"SSL_CERT_FILE": emulator.certificate_file, "AZURE_AUTHORITY_HOST": emulator.tls_address}
    with gateway_process(variables | trust) as gateway:
        yield gateway
