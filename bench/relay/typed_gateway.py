"""A gateway built on the SDK's typed path, the way its samples do it: a row of the table.

FastAPI as it comes, the SDK's connection, its models for each event both ways. Nothing of our gateway.
"""

import asyncio
import base64
import os

import uvicorn
from azure.ai.voicelive.aio import VoiceLiveConnection, connect
from azure.ai.voicelive.models import (
    ClientEventInputAudioBufferAppend,
    InputAudioFormat,
    Modality,
    OutputAudioFormat,
    RequestSession,
    ServerEventResponseAudioDelta,
    ServerEventResponseAudioTranscriptDelta,
    ServerEventSessionUpdated,
)
from azure.core.credentials import AzureKeyCredential
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()


@app.websocket("/ws/voice")
async def voice(websocket: WebSocket) -> None:
    """One call, until either side leaves."""
    await websocket.accept()
    upstream = connect(
        credential=AzureKeyCredential("bench"),
        endpoint=os.environ["AZURE_VOICELIVE_ENDPOINT"],
        model="gpt-4.1",
    )
    async with upstream as connection:
        await connection.session.update(
            session=RequestSession(
                modalities=[Modality.TEXT, Modality.AUDIO],
                input_audio_format=InputAudioFormat.PCM16,
                output_audio_format=OutputAudioFormat.PCM16,
            )
        )
        async with asyncio.TaskGroup() as call:
            directions = [
                call.create_task(_caller_to_agent(websocket, connection)),
                call.create_task(_agent_to_caller(websocket, connection)),
            ]
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            for direction in directions:
                direction.cancel()


async def _caller_to_agent(websocket: WebSocket, connection: VoiceLiveConnection) -> None:
    try:
        while True:
            audio = base64.b64encode(await websocket.receive_bytes()).decode("ascii")
            await connection.send(ClientEventInputAudioBufferAppend(audio=audio))
    except WebSocketDisconnect:
        pass


async def _agent_to_caller(websocket: WebSocket, connection: VoiceLiveConnection) -> None:
    async for event in connection:
        if isinstance(event, ServerEventResponseAudioDelta):
            await websocket.send_bytes(event.delta)
        elif isinstance(event, ServerEventResponseAudioTranscriptDelta):
            await websocket.send_json({"type": "agent_transcript_delta", "text": event.delta})
        elif isinstance(event, ServerEventSessionUpdated):
            await websocket.send_json({"type": "session_started", "session_id": event.session.id})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["APP_PORT"]), log_level="warning")
