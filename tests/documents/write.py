"""Writes the files beside this one, with pyarrow 26.0.1 and zstandard: python tests/documents/write.py"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

HERE = Path(__file__).parent

texts = [None if n % 10 == 3 else f"text {n % 7} of the table\r\nits second line, {n}" for n in range(60)]
texts[30:] = ["one text many times"] * 30
table = pa.table(
    {
        "id": pa.array(range(60), pa.int64()),
        "text": pa.array(texts, pa.large_string()),
        "redirect": pa.array([n % 4 == 0 for n in range(60)]),
        "repository": pa.array([f"r{n // 20}" for n in range(60)]).dictionary_encode(),
        "tags": pa.array([["a", "b"]] * 60),
    }
)
for codec in ["snappy", "zstd", "gzip"]:
    version = "2.0" if codec == "zstd" else "1.0"
    pq.write_table(table, HERE / f"{codec}.parquet", compression=codec, row_group_size=25, data_page_version=version)

lines = [json.dumps({"id": f"n{n}", "text": f"text {n} " * 20}) + "\n" for n in range(200)]
frames = zstandard.ZstdCompressor(write_checksum=True)
half = len("".join(lines)) // 2
text = "".join(lines).encode()
(HERE / "frames.jsonl.zst").write_bytes(frames.compress(text[:half]) + frames.compress(text[half:]))
