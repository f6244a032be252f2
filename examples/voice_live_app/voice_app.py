"""Ask an agent of Azure AI Voice Live a question, and print what it says aloud."""

import asyncio
import os
import sys

from azure.ai.voicelive.aio import connect
from azure.ai.voicelive.models import InputTextContentPart, UserMessageItem
from azure.core.credentials import AzureKeyCredential


async def ask(question: str) -> tuple[str, bytes]:
    """Return the answer's words and its speech, PCM16 at 24 kHz."""
    words, speech = "", b""
    credential = AzureKeyCredential(os.environ["AZURE_VOICELIVE_API_KEY"])
    async with connect(
        endpoint=os.environ["AZURE_VOICELIVE_ENDPOINT"], credential=credential, model="gpt-4.1"
    ) as voice:
        content = [InputTextContentPart(text=question)]
        await voice.conversation.item.create(item=UserMessageItem(content=content))
        await voice.response.create()
        async for event in voice:
            if event.type == "response.audio_transcript.delta":
                words += event.delta
            elif event.type == "response.audio.delta":
                speech += event.delta
            elif event.type == "response.done":
                break
    return words, speech


if __name__ == "__main__":
    print(asyncio.run(ask(sys.argv[1]))[0])
