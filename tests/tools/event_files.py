"""A reader of TensorBoard's event files, independent of the one that writes them."""

import struct


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(crc):
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C


def records(data):
    """The records of a file; ValueError where one is not as it should be."""
    while data:
        length, length_crc = struct.unpack_from("<QI", data)
        if masked(crc32c(data[:8])) != length_crc:
            raise ValueError("CRC of a length")
        record, (crc,) = data[12:12 + length], struct.unpack_from("<I", data, 12 + length)
        if masked(crc32c(record)) != crc:
            raise ValueError("CRC of a record")
        yield record
        data = data[16 + length:]


def fields(message):
    """(number, value) of a protobuf message: whole numbers, floats, or bytes."""
    position = 0

    def varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(message):
        key = varint()
        if key & 7 == 0:
            value = varint()
        elif key & 7 == 2:
            length = varint()
            value = message[position:position + length]
            position += length
        else:
            kind = {1: "<d", 5: "<f"}[key & 7]
            (value,) = struct.unpack_from(kind, message, position)
            position += struct.calcsize(kind)
        yield key >> 3, value


def events(path):
    """Each event as {"wall_time", "step", "version", "status", "scalars": {tag: value}}."""
    for record in records(path.read_bytes()):
        event = {"step": 0, "scalars": {}}
        for number, value in fields(record):
            if number == 1:
                event["wall_time"] = value
            elif number == 2:
                event["step"] = value
            elif number == 3:
                event["version"] = value.decode()
            elif number == 5:
                for _, summary_value in fields(value):
                    parts = dict(fields(summary_value))
                    event["scalars"][parts[1].decode()] = parts[2]
            elif number == 7:
                event["status"] = dict(fields(value))[1]
        yield event
