"""An HL7 v2 receiver over MLLP, by the package hl7: prints its port, then one line for each message it accepts."""

import asyncio
import sys

try:
    from hl7.mllp import start_hl7_server
except ImportError:
    sys.exit(3)


async def receive(reader, writer):
    try:
        while not writer.is_closing():
            message = await reader.readmessage()
            header = message.segment("MSH")
            identifiers = "~".join(str(one) for one in message.segment("PID")[3])
            fields = [str(header[9]), str(header[10]), identifiers, str(message.segment("PID")[5])]
            print("\t".join(fields), flush=True)
            writer.writemessage(message.create_ack())
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main():
    server = await start_hl7_server(receive, host="127.0.0.1", port=0, encoding="utf-8")
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
