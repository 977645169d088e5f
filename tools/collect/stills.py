#!/usr/bin/env python3
"""Turn annotated still images kept in public GitHub repositories into training crops.

Input : bare git directories under MIRROR/<owner>+<name>/repo (brought there by `fetch`).
Output: OUT/still/<source>_<number>.jpg + OUT/still/boxes.csv   330x330 crops, s = sqrt((w+c)(h+c)) = 127 px
        OUT/cutouts/<source>_<number>.png                      RGBA cut-outs where a mask exists
        OUT/photos/<source>_<number>.jpg                       whole photographs for backgrounds
        OUT/SOURCES-stills.md                                  the table of sources

Usage : collect_stills.py            remake everything
        collect_stills.py SRC ...    remake only these sources (rows of the others are kept)
        collect_stills.py --list DIR ...   what annotations does a mirrored repository hold?

Every run is deterministic (the random generator is seeded by the source's name).
"""

import collections
import csv
import glob
import json
import os
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
import zlib

import cv2
import numpy as np

cv2.setNumThreads(1)
MIRROR = os.environ.get("MIRROR", "mirror")
OUT = os.environ.get("MORE_OUT", "data/more")
SIZE, EXEMPLAR = 330, 127.0
MIN_SIDE, MAX_ASPECT, MAX_FILLER = 24, 6.0, 0.75
PER_IMAGE, PER_CLASS = 6, 400
IMAGE_EXT = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


# ---------------------------------------------------------------- reading a bare repository
class Repo:
    """Files of the newest commit of a mirrored repository, read through one `git cat-file`."""

    def __init__(self, name):
        found = glob.glob(f"{MIRROR}/{name}/repo/.git") or glob.glob(f"{MIRROR}/{name}/repo")
        self.dir, self.name = found[0], name
        git = ["git", "-C", self.dir]
        self.commit = subprocess.check_output(git + ["rev-parse", "HEAD"], text=True).strip()
        self.files = {}  # path -> (blob, size)
        raw = subprocess.check_output(git + ["ls-tree", "-r", "-l", "-z", "HEAD"])
        for rec in raw.decode("utf8", "replace").split("\0"):
            if rec:
                meta, path = rec.split("\t", 1)
                _, kind, blob, size = meta.split()
                if kind == "blob" and size.isdigit():  # «BAD»: a blob left out of the snapshot
                    self.files[path] = (blob, int(size))
        self.pipe = subprocess.Popen(git + ["cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(self, path):
        self.pipe.stdin.write(self.files[path][0].encode() + b"\n")
        self.pipe.stdin.flush()
        head = self.pipe.stdout.readline().split()
        if len(head) != 3:  # «missing»: left out of the snapshot
            return b""
        data = self.pipe.stdout.read(int(head[2]))
        self.pipe.stdout.read(1)
        return data

    def image(self, path, flags=cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION):
        data = self.read(path)
        if len(data) < 1000 and data.startswith(b"version https://git-lfs"):
            return None
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None

    def close(self):
        self.pipe.stdin.close()
        self.pipe.wait()


def stem(path):
    return os.path.splitext(os.path.basename(path))[0]


class Finder:
    """Which image of the repository belongs to an annotation: nearest folder wins."""

    def __init__(self, paths):
        self.by_stem = collections.defaultdict(list)
        for p in paths:
            if p.lower().endswith(IMAGE_EXT):
                self.by_stem[stem(p)].append(p)

    def __call__(self, name, near):
        cands = [p for p in self.by_stem.get(stem(name), ()) if not re.search(r"mask|segm|label", p, re.I)] or self.by_stem.get(
            stem(name), ()
        )
        if not cands:
            return None
        near = near.split("/")
        return max(cands, key=lambda p: (len(os.path.commonprefix([p.split("/"), near])), -len(p)))


# ---------------------------------------------------------------- annotation formats
# Every reader yields (image path, [object...]); an object is (x, y, w, h, class, polygons or None),
# 0-based pixels; for YOLO the numbers are fractions of the image (unit=True).
def coco(repo, finder, keep):
    for path, (_, size) in repo.files.items():
        if not path.lower().endswith(".json") or not 200 < size < 300e6 or not keep(path):
            continue
        try:
            data = json.loads(repo.read(path))
        except ValueError:
            continue
        if not isinstance(data, dict) or not data.get("annotations") or not isinstance(data.get("images"), list):
            continue
        if not isinstance(data["annotations"], list) or "bbox" not in data["annotations"][0]:
            continue
        names = {c["id"]: str(c.get("name")) for c in data.get("categories", []) if "id" in c}
        objs = collections.defaultdict(list)
        for a in data["annotations"]:
            box = a.get("bbox") or []
            if len(box) != 4 or None in box or a.get("iscrowd") or a.get("ignore"):
                continue
            seg = a.get("segmentation")
            polys = (
                [np.array(s, float).reshape(-1, 2) for s in seg if isinstance(s, list) and len(s) >= 6 and len(s) % 2 == 0]
                if isinstance(seg, list)
                else None
            )
            objs[a["image_id"]].append((*map(float, box), names.get(a.get("category_id"), "object"), polys or None))
        for im in data["images"]:
            if im["id"] in objs:
                p = finder(im.get("file_name", ""), path)
                if p:
                    yield p, objs[im["id"]], False


def voc(repo, finder, keep):
    for path, (_, size) in repo.files.items():
        if not path.lower().endswith(".xml") or size > 1e6 or not keep(path):
            continue
        raw = repo.read(path)
        if b"<object>" not in raw or b"bndbox" not in raw:
            continue
        try:
            root = ET.fromstring(raw)
        except ET.ParseError:
            continue
        p = finder(path, path) or finder(root.findtext("filename") or "", path)
        if not p:
            continue
        objs = []
        for o in root.iter("object"):
            b = o.find("bndbox")
            if b is None or (o.findtext("difficult") or "0").strip() == "1" or (o.findtext("truncated") or "0").strip() == "1":
                continue
            try:
                x0, y0, x1, y1 = (float(b.findtext(k)) for k in ("xmin", "ymin", "xmax", "ymax"))
            except (TypeError, ValueError):
                continue
            objs.append((x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1, (o.findtext("name") or "object").strip(), None))
        if objs:
            yield p, objs, False


def yolo_names(repo, near, cache={}):
    """Class names for a label file: the nearest *.yaml with `names:`, or classes.txt / obj.names."""
    key = (repo.name, near)
    if key in cache:
        return cache[key]
    parts, names = near.split("/"), None
    tables = [p for p in repo.files if re.search(r"(\.ya?ml|classes\.txt|\.names)$", p) and repo.files[p][1] < 50000]
    tables.sort(key=lambda p: (-len(os.path.commonprefix([p.split("/")[:-1], parts])), "data" not in p, len(p)))
    for p in tables:
        text = repo.read(p).decode("utf8", "replace")
        if not p.endswith(("yaml", "yml")):
            names = [t.strip() for t in text.splitlines() if t.strip()]
            break
        m = re.search(r"^names:\s*\[(.*?)\]", text, re.S | re.M)
        if m:
            names = [t.strip().strip("'\"") for t in m.group(1).split(",")]
        elif re.search(r"^names:\s*$", text, re.M):
            body = re.split(r"^names:\s*$", text, flags=re.M)[1]
            names = re.findall(r'^\s*(?:-|\d+:)\s*[\'"]?(.*?)[\'"]?\s*(?:#.*)?$', body, re.M)
        if names:
            break
    cache[key] = names or []
    return cache[key]


def yolo(repo, finder, keep):
    for path, (_, size) in repo.files.items():
        if (
            not path.endswith(".txt")
            or not 8 < size < 200000
            or not keep(path)
            or re.search(r"README|requirements|classes", path)
        ):
            continue
        if stem(path) not in finder.by_stem:
            continue
        rows = [r.split() for r in repo.read(path).decode("utf8", "replace").splitlines() if r.strip()]
        try:
            rows = [(int(float(r[0])), np.array(r[1:], float)) for r in rows]
        except ValueError:
            continue
        p, objs = finder(path, path), []
        names = yolo_names(repo, os.path.dirname(path))
        for c, v in rows:
            if len(v) < 4 or v.min() < -0.05 or v.max() > 1.05:
                continue
            name = names[c] if 0 <= c < len(names) else f"class{c}"
            if len(v) == 4:
                objs.append((v[0] - v[2] / 2, v[1] - v[3] / 2, v[2], v[3], name, None))
            elif len(v) % 2 == 0:
                q = v.reshape(-1, 2)
                (x, y), (w, h) = q.min(0), np.ptp(q, 0)
                objs.append((x, y, w, h, name, [q]))
        if objs:
            yield p, objs, True


def masks(repo, spec):
    """Pairs of image and mask file. spec: list of (regex of the image path, replacement giving the mask path, class)."""
    for path in sorted(repo.files):
        for rx, sub, cls in spec:
            m = re.match(rx, path)
            if m:
                mp = m.expand(sub)
                if mp in repo.files:
                    c = m.groupdict().get("cls") or cls
                    yield path, mp, c
                break


FORMATS = {"coco": coco, "voc": voc, "yolo": yolo}


# ---------------------------------------------------------------- images out
def crop330(img, box, mean):
    """The 330x330 crop around a box and the box inside it; None if too little of it is image."""
    x, y, w, h = box
    c = (w + h) / 2
    scale = EXEMPLAR / np.sqrt((w + c) * (h + c))
    cx, cy = x + w / 2, y + h / 2
    half = SIZE / 2 / scale
    H, W = img.shape[:2]
    inside = max(0, min(W, cx + half) - max(0, cx - half)) * max(0, min(H, cy + half) - max(0, cy - half))
    if inside / (2 * half) ** 2 < 1 - MAX_FILLER:
        return None
    src, sx, sy = img, 1.0, 1.0
    if scale < 0.5:  # shrink first, or warpAffine would alias
        nw, nh = max(1, round(W * scale)), max(1, round(H * scale))
        src = cv2.resize(img, (nw, nh), interpolation=cv2.INTER_AREA)
        sx, sy = nw / W, nh / H
    # pixel centres: source u = (i + 0.5) / scale + left - 0.5 (in the original image), then through the shrink
    left, top = cx - half, cy - half
    M = np.array([[sx / scale, 0, (0.5 / scale + left) * sx - 0.5], [0, sy / scale, (0.5 / scale + top) * sy - 0.5]])
    out = cv2.warpAffine(
        src, M, (SIZE, SIZE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT, borderValue=mean
    )
    return out, ((x - left) * scale, (y - top) * scale, w * scale, h * scale)


def fingerprint(crop):
    """64-bit difference hash of the object's neighbourhood (near duplicates differ in few bits)."""
    g = cv2.resize(cv2.cvtColor(crop[70:260, 70:260], cv2.COLOR_BGR2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    return int("".join("1" if b else "0" for b in (g[:, 1:] > g[:, :-1]).ravel()), 2)


class Seen:
    def __init__(self):
        self.codes = np.zeros(0, np.uint64)

    def near(self, code, bits=7):
        if len(self.codes):
            x = self.codes ^ np.uint64(code)
            n = np.unpackbits(x.view(np.uint8).reshape(-1, 8), axis=1).sum(1)
            if n.min() <= bits:
                return True
        self.codes = np.append(self.codes, np.uint64(code))
        return False


def cutout(img, mask):
    """RGBA cut-out, tight with 2 px margin, longest side <= 256, edge softened; None if unusable."""
    ys, xs = np.where(mask > 127)
    if len(xs) < 900:
        return None
    x0, x1, y0, y1 = xs.min() - 2, xs.max() + 3, ys.min() - 2, ys.max() + 3
    H, W = mask.shape
    x0, y0, x1, y1 = max(0, x0), max(0, y0), min(W, x1), min(H, y1)
    if min(x1 - x0, y1 - y0) < 28 or max((x1 - x0) / (y1 - y0), (y1 - y0) / (x1 - x0)) > 6:
        return None
    part = mask[y0:y1, x0:x1]
    fill = (part > 127).mean()
    if fill > 0.93 or fill < 0.12:  # a box, or scattered crumbs
        return None
    rgb, a = img[y0:y1, x0:x1], part
    k = 256 / max(a.shape)
    if k < 1:
        size = (max(1, round(a.shape[1] * k)), max(1, round(a.shape[0] * k)))
        rgb, a = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), cv2.resize(a, size, interpolation=cv2.INTER_AREA)
    a = cv2.GaussianBlur(cv2.erode(a, np.ones((3, 3), np.uint8)), (3, 3), 0)  # pulled in by a pixel: no halo
    return np.dstack([rgb, a])


def largest_part(mask):
    """Boxes of the mask's connected parts: [(box, mask of the part)], small crumbs left out."""
    n, lab, stats, _ = cv2.connectedComponentsWithStats((mask > 127).astype(np.uint8), connectivity=8)
    total = max(1, stats[1:, 4].sum()) if n > 1 else 1
    return [
        (tuple(map(float, stats[i, :4])), np.where(lab == i, mask, 0).astype(np.uint8))
        for i in range(1, n)
        if stats[i, 4] > 0.2 * total
    ]


# ---------------------------------------------------------------- one source
def collect(name, spec):
    repo = Repo(spec["dir"])
    rng = random.Random(zlib.crc32(name.encode()))
    for d in ("still", "cutouts", "photos"):  # a remake replaces this source's files
        for p in glob.glob(f"{OUT}/{d}/{glob.escape(name)}_[0-9]*"):
            os.remove(p)
    drop = re.compile(spec["drop"], re.I) if spec.get("drop") else None
    only = re.compile(spec["only"]) if spec.get("only") else None
    keep = lambda p: not (only and not only.search(p)) and not (drop and drop.search(p))
    finder = Finder(repo.files)

    jobs = {}  # image -> objects (first annotation of an image wins)
    if "masks" in spec:
        for p, mp, c in masks(repo, spec["masks"]):
            if keep(p):
                jobs.setdefault(p, ("mask", mp, c))
    else:
        for kind in spec["formats"]:
            for p, objs, unit in FORMATS[kind](repo, finder, keep):
                jobs.setdefault(p, ("boxes", objs, unit))
    # Roboflow exports: <base>.rf.<hash> are augmented copies of one photo. Where the export was
    # augmented take the untouched valid/test splits if they are large enough; else one copy each.
    order = sorted(jobs)
    rng.shuffle(order)
    bases = collections.defaultdict(list)
    for p in order:
        bases[os.path.basename(p).split(".rf.")[0]].append(p)
    held = lambda p: bool(re.search(r"(^|/)(valid|val|test)/", p))
    augmented = len(order) > 1.3 * len(bases)
    if augmented and sum(map(held, order)) >= 150:
        order = [p for p in order if held(p)]
    else:
        order = sorted(order, key=lambda p: not held(p))
    done, picked = set(), []
    for p in order:
        b = os.path.basename(p).split(".rf.")[0]
        if ".rf." not in p or b not in done:
            done.add(b)
            picked.append(p)

    per_class, seen, rows, n_cut, n_photo = collections.Counter(), Seen(), [], 0, 0
    limit, cls_cap = spec.get("limit", 2000), spec.get("per_class", PER_CLASS)
    rename = spec.get("classes", {})
    skip_cls = re.compile(spec["skip_classes"], re.I) if spec.get("skip_classes") else None
    for p in picked:
        full = len(rows) >= limit
        if full and n_cut >= spec.get("cutouts", 0) and n_photo >= spec.get("photos", 0):
            break
        img = repo.image(p)
        if img is None or min(img.shape[:2]) < 64:
            continue
        H, W = img.shape[:2]
        kind, data, extra = jobs[p]
        if kind == "mask":
            m = repo.image(data, cv2.IMREAD_UNCHANGED)
            if m is None:
                continue
            m = spec["mask_of"](m)
            if m.shape[:2] != (H, W):
                m = cv2.resize(m, (W, H), interpolation=cv2.INTER_NEAREST)
            objs = [(*b, extra, part) for b, part in largest_part(m)]
        else:
            k = np.array([W, H, W, H]) if extra else np.ones(4)
            objs = [(*(np.array(o[:4]) * k), o[4], [q * (k[:2]) for q in o[5]] if o[5] else None) for o in data]
        rng.shuffle(objs)
        mean = tuple(float(v) for v in img.reshape(-1, 3).mean(0))
        took = 0
        for x, y, w, h, cls, shape in objs:
            cls = rename.get(cls, cls).strip().lower().replace(",", " ")
            if skip_cls and skip_cls.search(cls):
                continue
            x0, y0, x1, y1 = max(0, x), max(0, y), min(W, x + w), min(H, y + h)
            w, h = x1 - x0, y1 - y0
            if min(w, h) < MIN_SIDE or max(w / h, h / w) > MAX_ASPECT or took >= PER_IMAGE or per_class[cls] >= cls_cap:
                continue
            cut_by_frame = (x0 <= 1) + (y0 <= 1) + (x1 >= W - 1) + (y1 >= H - 1)
            if cut_by_frame >= 2:  # not marked, but plainly truncated
                continue
            if len(rows) < limit:
                got = crop330(img, (x0, y0, w, h), mean)
                if got and got[0].std() > 12 and not seen.near(fingerprint(got[0])):
                    f = f"{name}_{len(rows):05d}.jpg"
                    cv2.imwrite(f"{OUT}/still/{f}", got[0], [cv2.IMWRITE_JPEG_QUALITY, 88])
                    rows.append([f, *(f"{v:.2f}" for v in got[1]), cls, name])
                    took += 1
                    per_class[cls] += 1
            if shape is not None and n_cut < spec.get("cutouts", 0) and cut_by_frame == 0:
                m = shape
                if isinstance(shape, list):
                    if sum(map(len, shape)) < 12:
                        continue  # rectangles in disguise
                    m = np.zeros((H, W), np.uint8)
                    cv2.fillPoly(m, [np.round(q).astype(np.int32) for q in shape], 255)
                c = cutout(img, m)
                if c is not None:
                    cv2.imwrite(f"{OUT}/cutouts/{name}_{n_cut:05d}.png", c)
                    n_cut += 1
        if n_photo < spec.get("photos", 0) and not augmented:
            n_photo += photo(name, img, n_photo)
    # photographs without annotation
    if spec.get("plain_photos"):
        paths = [p for p in sorted(repo.files) if re.search(spec["plain_photos"], p)]
        rng.shuffle(paths)
        for p in paths:
            if n_photo >= spec.get("photos", 0):
                break
            img = repo.image(p)
            if img is not None:
                n_photo += photo(name, img, n_photo)
    repo.close()
    print(
        f"{name}: {len(rows)} crops, {len(per_class)} classes, {n_cut} cut-outs, {n_photo} photos (of {len(picked)} images)",
        per_class.most_common(6),
        flush=True,
    )
    return rows, dict(commit=repo.commit, crops=len(rows), classes=len(per_class), cutouts=n_cut, photos=n_photo)


def photo(name, img, n):
    """Keep a whole photograph: shortest side >= 480, longest resized to 800."""
    H, W = img.shape[:2]
    if min(H, W) < 480 or max(H, W) > 2.2 * min(H, W) or img.std() < 25:
        return 0
    k = 800 / max(H, W)
    if k < 1:
        img = cv2.resize(img, (round(W * k), round(H * k)), interpolation=cv2.INTER_AREA)
    cv2.imwrite(f"{OUT}/photos/{name}_{n:05d}.jpg", img, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return 1


# ---------------------------------------------------------------- the sources
# name -> how to read one repository: dir, what, licence, formats or masks, caps (limit, per_class), cutouts, photos
def bright(m):
    """Mask image -> 0/255: anything brighter than mid-grey in the first channels is object."""
    if m.ndim == 3:
        m = m[..., :3].max(2)
    return (m > 127).astype(np.uint8) * 255


def any_colour(m):
    """Mask image -> 0/255: every pixel that is not black is object."""
    if m.ndim == 3:
        m = m[..., :3].max(2)
    return (m > 0).astype(np.uint8) * 255


UNKNOWN = "none stated"
SOURCES = {
    "ecssd": dict(
        dir="total-black+U2Net-ECSSD-Evaluation",
        what="ECSSD saliency set, 1,000 photos with masks",
        licence=UNKNOWN + " (ECSSD: research)",
        masks=[(r"data/ECSSD/images/(\d+)\.jpg$", r"data/ECSSD/ground_truth_mask/\1.png", "salient")],
        mask_of=bright,
        cutouts=1200,
        per_class=2000,
    ),
    "pascals": dict(
        dir="frankLeo123+Saliency_Matlab",
        what="PASCAL-S saliency set (850 VOC2010 photos with masks)",
        licence=UNKNOWN + " (PASCAL-S: research; photos from Flickr)",
        masks=[(r"config/pascal/(\d+)\.jpg$", r"config/mask/\1.png", "salient")],
        mask_of=bright,
        cutouts=1200,
        per_class=2000,
    ),
    "coco-tiny": dict(
        dir="zzowenzz+COCO_Tiny",
        what="160 photos of COCO 2017, 80 classes, polygons",
        licence=UNKNOWN + " (COCO: annotations CC BY 4.0, Flickr photos)",
        formats=["coco"],
        cutouts=600,
        photos=40,
    ),
    "coco-tiny2": dict(
        dir="enginbozaba+tiny_coco",
        what="38 photos of COCO 2017, polygons",
        licence=UNKNOWN + " (COCO: annotations CC BY 4.0, Flickr photos)",
        formats=["coco"],
        cutouts=200,
        photos=20,
    ),
    "coco-own": dict(
        dir="DineshRamachandran14+data", what="photos of COCO layout, 5 classes", licence=UNKNOWN, formats=["coco"], photos=60
    ),
    "trash7": dict(
        dir="AbdullahAlNoman20+TrashNet",
        what="waste: 7 classes (roboflow)",
        licence=UNKNOWN,
        formats=["yolo"],
        limit=1200,
        per_class=180,
        photos=60,
    ),
    "nutrigo": dict(
        dir="FelixMatrixar+NutriGO-Dataset",
        what="Indonesian dishes and fruit, 61 classes (roboflow)",
        licence=UNKNOWN,
        formats=["coco"],
        limit=1200,
        per_class=40,
    ),
    "kitchen11": dict(
        dir="HMI2-Research-Group+Kitchen-YOLO-Dataset",
        what="food packages and vegetables in a kitchen",
        licence="Attribution Assurance License (HMI2 Lab)",
        formats=["yolo"],
        limit=300,
        per_class=40,
    ),
    "amenity": dict(
        dir="kunalpohakar+Amenity-Detection-using-Detectron2",
        what="rooms: 20 classes of furniture",
        licence="CC BY 4.0",
        formats=["coco"],
        photos=30,
    ),
    "rabbit": dict(dir="ayten2301+rabbit", what="rabbits", licence=UNKNOWN, formats=["coco"], photos=30),
    "dogcat": dict(
        dir="134DAY+DogCatScannerAI-Project",
        what="dogs and cats",
        licence="MIT (repository); data: undefined",
        formats=["yolo"],
        limit=400,
        per_class=200,
        photos=60,
    ),
    "ships": dict(
        dir="AUMANSH+ships-dataset-yoloversion8",
        what="ships (aerial and side views)",
        licence="CC BY 4.0",
        formats=["yolo"],
        limit=300,
    ),
    "cars": dict(
        dir="bhuminChodvadiya+Object-Localization",
        what="cars and lorries",
        licence=UNKNOWN,
        formats=["coco"],
        limit=400,
        per_class=200,
    ),
    "chess": dict(
        dir="jsansao+ChessPiecesv23", what="chess pieces", licence="Public Domain", formats=["coco"], limit=200, per_class=18
    ),
    "feralcat": dict(
        dir="pcashman21+feral-cat-segmentation-dataset-and-model",
        what="feral cats (trap cameras), polygons",
        licence="Public Domain",
        formats=["yolo"],
        limit=150,
        cutouts=100,
    ),
    "helmets": dict(
        dir="TigerandRosa+paper_code",
        what="helmets and heads of workers",
        licence="Apache-2.0 (repository)",
        formats=["voc"],
        limit=200,
        per_class=100,
    ),
    "toys": dict(dir="PrahasHegde+ToyDetection", what="toy animals", licence=UNKNOWN, formats=["coco"], limit=60),
    "cards": dict(
        dir="howl0893+custom-object-detection-datasets",
        what="playing cards",
        licence=UNKNOWN,
        formats=["voc"],
        limit=80,
        per_class=15,
    ),
    "people-seg": dict(
        dir="VikramShenoy97+Human-Segmentation-Dataset",
        what="290 people with masks",
        licence=UNKNOWN,
        masks=[(r"Training_Images/(.*)\.jpg$", r"Ground_Truth/\1.png", "person")],
        mask_of=bright,
        cutouts=290,
    ),
    "imagenet-photos": dict(
        dir="EliSchwartz+imagenet-sample-images",
        what="one photo of each ImageNet class (backgrounds only)",
        licence="none stated (ImageNet: research)",
        formats=[],
        plain_photos=r"\.JPEG$",
        photos=400,
    ),
    # ---- second round
    "endangered": dict(
        dir="KomaHomu+Applying-Mask-RCNN-in-endangered-animals-detection",
        what="elephant, bear, monkey, turtle, tiger, otter, deer; polygons",
        licence="MIT (repository, from Mask R-CNN)",
        formats=["coco"],
        cutouts=700,
        photos=200,
    ),
    "tools27": dict(
        dir="congtongc+Rokey",
        what="hand tools, 27 classes (roboflow), polygons",
        licence="CC BY 4.0",
        formats=["yolo"],
        limit=700,
        per_class=60,
        cutouts=300,
        photos=20,
    ),
    "recycling": dict(
        dir="keshavarzIT+Classification-of-recycling-garbage",
        what="plastic, metal, glass, cardboard, paper",
        licence=UNKNOWN,
        formats=["coco"],
        limit=800,
        per_class=170,
        photos=25,
    ),
    "waste11": dict(
        dir="Ashishpatel4047+waste_material",
        what="waste: cups, bottles, cardboard, bins",
        licence="CC BY 4.0",
        formats=["yolo"],
        limit=450,
        per_class=90,
        photos=100,
    ),
    "sealife": dict(
        dir="1wenjinjie+Fish-Detection-YOLOv8",
        what="fish and other sea life, 13 classes",
        licence="Public Domain",
        formats=["yolo"],
        limit=900,
        per_class=90,
    ),
    "deepfish": dict(
        dir="facingfrost+deepfish-detection",
        what="fish under water (video frames: few taken)",
        licence="CC BY 4.0",
        formats=["yolo"],
        limit=120,
        per_class=40,
    ),
    "fruit3": dict(
        dir="myproject-01+fruit", what="banana, apple, orange", licence=UNKNOWN, formats=["coco"], limit=200, per_class=70
    ),
    "fruit6": dict(
        dir="quan831+Fruit-Detection",
        what="cherry, pineapple, plum, mango, watermelon, tomato",
        licence="MIT (repository)",
        formats=["yolo"],
        limit=480,
        per_class=80,
    ),
    "veg12": dict(
        dir="FatihEmin48+okra-pepper-eggplant-yolo-dataset",
        what="vegetables on the plant, 12 classes",
        licence="CC BY 4.0",
        formats=["yolo"],
        limit=360,
        per_class=40,
    ),
    "meals14": dict(
        dir="Charladinna9+mbg-nutrition-detection-system",
        what="parts of Indonesian meals, polygons",
        licence="CC BY 4.0",
        formats=["yolo"],
        limit=300,
        per_class=30,
        cutouts=120,
    ),
    "farm6": dict(
        dir="NguyenBuiQuanqHuy+Animal_Detection",
        what="cow, horse, cat, dog, elephant, chicken",
        licence=UNKNOWN,
        formats=["yolo"],
        photos=20,
    ),
    "savanna": dict(
        dir="Bees11111+ComputerVision-Project", what="lion, hyena, antelope", licence=UNKNOWN, formats=["coco"], limit=150
    ),
    "weather": dict(
        dir="manyathakur02+object_detection_extreme_weather",
        what="road users in fog, rain, snow, night",
        licence=UNKNOWN,
        formats=["yolo"],
        limit=450,
        per_class=120,
        photos=60,
    ),
    "ppe": dict(
        dir="Boroda-v-goroshek+ML_project",
        what="vests, gloves, helmets, glasses",
        licence=UNKNOWN,
        formats=["yolo"],
        limit=400,
        per_class=120,
        photos=100,
    ),
    "medwaste": dict(
        dir="Elbhnasy+Medical_Waste_Detection_Detectron2",
        what="ampoules, syringes, masks, blood bags, polygons",
        licence="MIT (repository)",
        formats=["coco"],
        limit=160,
        per_class=40,
        cutouts=80,
    ),
    "carparts": dict(
        dir="Veterba+CNN-object-detection", what="parts of cars", licence="CC BY 4.0", formats=["coco"], limit=180, per_class=30
    ),
    "cats12": dict(dir="g3n3s1s-a+MeowNet", what="cat breeds", licence=UNKNOWN, formats=["coco"], photos=20),
    "boards": dict(
        dir="TannerGilbert+Tensorflow-Object-Detection-API-Train-Model",
        what="microcontroller boards",
        licence="MIT (repository)",
        formats=["voc"],
        limit=100,
    ),
    "bottles": dict(
        dir="AyeshaImran-61+Bottle-Detection-YOLO",
        what="bottles, polygons",
        licence="CC BY 4.0",
        formats=["yolo"],
        limit=120,
        cutouts=80,
    ),
    "boxes1": dict(dir="Donidodni+Tensorflow_Project", what="parcels", licence="CC BY 4.0", formats=["yolo"], limit=80),
    "gadgets5": dict(
        dir="diwwergg+Class5Segment",
        what="small things in the hand: flash drive, eraser, coin, earphones",
        licence="CC BY 4.0",
        formats=["coco"],
        limit=120,
        per_class=25,
        cutouts=60,
    ),
    "horses": dict(
        dir="shenshutao+image_segmentation",
        what="Weizmann horses with masks",
        licence=UNKNOWN + " (Weizmann: research)",
        masks=[(r"weizmann_horse_db/rgb/(horse\d+)\.jpg$", r"weizmann_horse_db/figure_ground/\1.jpg", "horse")],
        mask_of=bright,
        cutouts=300,
    ),
    # ---- third round
    "roadmarks": dict(
        dir="luxunecteknoloji+OtonomDataset",
        what="road signs and markings (model road)",
        licence=UNKNOWN,
        formats=["coco"],
        limit=200,
        per_class=25,
    ),
    "babies": dict(
        dir="Kuro2003+BabyFace_detection", what="faces of babies", licence=UNKNOWN, formats=["coco"], limit=150, per_class=110
    ),
    "apples2": dict(dir="cselabfu+appletron2", what="fresh and rotten apples", licence="CC BY 4.0", formats=["coco"], limit=100),
    "cones": dict(
        dir="Lakemonsters2635+Cones-and-Cells",
        what="traffic cones, balls",
        licence=UNKNOWN,
        formats=["coco", "yolo"],
        limit=150,
        per_class=90,
        photos=40,
    ),
    "motorbikes": dict(
        dir="kioenguyen0207+traffic_dataset",
        what="motorbikes and cars in streets",
        licence="MPL-2.0 (repository)",
        formats=["coco"],
        limit=150,
        per_class=100,
        photos=30,
    ),
    "pens": dict(dir="Emadamx+ACV-HW4-pen-detection", what="pens", licence="CC BY 4.0", formats=["coco"], limit=80, photos=20),
    "foosball": dict(
        dir="DaanS8+foosball_detection",
        what="table football: figures, hands, ball",
        licence="MIT (repository)",
        formats=["coco"],
        limit=90,
        per_class=30,
    ),
}


def listing(dirs):
    for d in dirs:
        try:
            repo = Repo(d)
        except Exception as e:
            print("==", d, "unreadable", e)
            continue
        finder = Finder(repo.files)
        n_img = sum(p.lower().endswith(IMAGE_EXT) for p in repo.files)
        lic = [p for p in repo.files if re.match(r"(?i)licen[cs]e", p)]
        text = " ".join(
            repo.read(p).decode("utf8", "replace") for p in repo.files if re.search(r"README\.(dataset|roboflow)\.txt$", p)
        )
        lic += sorted(set(re.findall(r"License: *(.*)", text)))
        print(f"== {d} {repo.commit[:7]} images {n_img} licence {lic}", "AUGMENTED" if "ollowing augmentation" in text else "")
        for kind, f in FORMATS.items():
            c, ims, poly = collections.Counter(), set(), 0
            for p, objs, unit in f(repo, finder, lambda p: True):
                ims.add(p)
                c.update(o[4] for o in objs)
                poly += sum(bool(o[5]) and sum(map(len, o[5])) >= 12 for o in objs)
            if ims:
                print(
                    f"   {kind}: {len(ims)} images, {len({os.path.basename(i).split('.rf.')[0] for i in ims})} bases, {sum(c.values())} boxes, {poly} polygons, {len(c)} classes:",
                    c.most_common(14),
                )
        repo.close()


def main():
    if sys.argv[1:2] == ["--list"]:
        return listing(sys.argv[2:])
    for d in ("still", "cutouts", "photos"):
        os.makedirs(f"{OUT}/{d}", exist_ok=True)
    table, facts = f"{OUT}/still/boxes.csv", f"{OUT}/sources.json"
    wanted = sys.argv[1:] or list(SOURCES)
    info = json.load(open(facts)) if os.path.exists(facts) else {}
    for name in wanted:
        try:
            rows, info[name] = collect(name, SOURCES[name])
        except Exception as e:
            print(f"{name}: FAILED {type(e).__name__} {e}", flush=True)
            continue
        old = []
        if os.path.exists(table):
            old = [r for r in csv.reader(open(table)) if r and r[0] != "file" and r[-1] != name and r[-1] in SOURCES]
        with open(table + ".new", "w", newline="") as f:
            w = csv.writer(f, lineterminator="\n")
            w.writerow(["file", "x", "y", "w", "h", "class", "source"])
            w.writerows(old + rows)
        os.replace(table + ".new", table)
        json.dump(info, open(facts, "w"), indent=1)
    with open(f"{OUT}/SOURCES-stills.md", "w") as f:
        f.write(
            "# Still images collected by collect_stills.py\n\nCounts after the rules (size, truncation, filler, near duplicates, caps).\n\n"
            "| source | repository | commit | what | licence as stated there | crops | classes | cut-outs | photos |\n|---|---|---|---|---|---|---|---|---|\n"
        )
        for n, s in SOURCES.items():
            if n in info:
                i = info[n]
                f.write(
                    f"| {n} | {s['dir'].replace('+', '/', 1)} | {i['commit'][:12]} | {s['what']} | {s['licence']} | {i['crops']} | {i['classes']} | {i['cutouts']} | {i['photos']} |\n"
                )
        tot = [sum(info[n][k] for n in SOURCES if n in info) for k in ("crops", "cutouts", "photos")]
        f.write(f"\nTotal: {tot[0]} crops, {tot[1]} cut-outs, {tot[2]} photographs.\n")


if __name__ == "__main__":
    main()
