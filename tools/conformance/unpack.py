"""Takes files out of wheels: unpack.py WHEELS TARGET ENDING..., each ending names one file."""

import os
import sys
import zipfile


def main():
    wheels, target, *endings = sys.argv[1:]
    for wheel in os.listdir(wheels):
        with zipfile.ZipFile(os.path.join(wheels, wheel)) as archive:
            for name in archive.namelist():
                if not any(name.endswith("/" + ending) for ending in endings):
                    continue
                path = os.path.join(target, os.path.basename(name))
                with open(path, "wb") as file:
                    file.write(archive.read(name))
                os.chmod(path, 0o755)
                endings = [e for e in endings if not name.endswith("/" + e)]
    return f"not found: {endings}" if endings else 0


if __name__ == "__main__":
    sys.exit(main())
