#!/usr/bin/env python
"""Annotated video out of mirrored public repositories -> GOT-10k style 330x330 crops.

    collect_video.py [--only NAME ...] [--sheets] [--list]

Every source is a bare git directory under MIRROR (made by the `fetch` tool; nothing is downloaded here).
A source yields videos: an ordered list of (frame number, function that returns the image, [(class, x, y, w, h), ...]).
Boxes without identity are linked through time (mutual best overlap, similar size, similar look), which also cuts
tracks at scene changes. Out of each track come 8-24 frames; each is a crop in which SiamFC's context side is 127 px.
A source is written whole before the next one starts; running again replaces it.
"""

import argparse
import csv
import io
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
import zipfile
import zlib

import cv2
import numpy as np

cv2.setNumThreads(1)

MIRROR = os.environ.get("MIRROR", "mirror")
OUT = "data/more/got10k"
SHEETS = "data/more/sheets-video"
SIDE, CONTEXT = 330, 127.0


# ---------------------------------------------------------------- git
class Repo:
    """Files of a repository's newest commit, read from its bare git directory."""

    def __init__(self, name):
        base = f"{MIRROR}/{name.replace('/', '+')}/repo"
        self.dir = base + "/.git" if os.path.isdir(base + "/.git") else base
        self.name, self.proc = name, None
        self.files = {}
        raw = subprocess.run(["git", f"--git-dir={self.dir}", "ls-tree", "-r", "-z", "HEAD"], stdout=subprocess.PIPE).stdout
        for row in raw.split(b"\0"):
            if row:
                head, path = row.split(b"\t", 1)
                self.files[path.decode("utf8", "replace")] = head.split()[2].decode()

    def commit(self):
        return subprocess.run(
            ["git", f"--git-dir={self.dir}", "rev-parse", "HEAD"], stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    def read(self, path):
        if self.proc is None:
            self.proc = subprocess.Popen(
                ["git", f"--git-dir={self.dir}", "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        self.proc.stdin.write((self.files[path] + "\n").encode())
        self.proc.stdin.flush()
        head = self.proc.stdout.readline().split()
        if head[1] == b"missing":
            return b""
        data = self.proc.stdout.read(int(head[2]))
        self.proc.stdout.read(1)
        return data

    def image(self, path, flag=cv2.IMREAD_COLOR):
        data = self.read(path)
        return cv2.imdecode(np.frombuffer(data, np.uint8), flag) if data else None


def jpeg_size(data):
    """Width and height of an encoded image without keeping its pixels."""
    from PIL import Image

    return Image.open(io.BytesIO(data)).size


# ---------------------------------------------------------------- annotation formats
def voc(data):
    rows = []
    for o in ET.fromstring(data).iter("object"):
        b = o.find("bndbox")
        x0, y0, x1, y1 = (float(b.find(k).text) for k in ("xmin", "ymin", "xmax", "ymax"))
        rows.append((o.find("name").text or "object", x0, y0, x1 - x0, y1 - y0))
    return rows


def yolo(data, size):
    rows = []
    for line in data.decode("utf8", "replace").splitlines():
        v = line.split()
        if len(v) < 5:
            continue
        f = [float(t) for t in v[1:]]
        if len(f) > 5 and len(f) % 2 == 0:  # a polygon
            xs, ys = f[0::2], f[1::2]
            x, y, w, h = min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
        else:
            x, y, w, h = f[0] - f[2] / 2, f[1] - f[3] / 2, f[2], f[3]
        rows.append((v[0], x * size[0], y * size[1], w * size[0], h * size[1]))
    return rows


def frames(repo, images, labels, label_path, names=None, flip=False):
    """Videos of frame files with a label file each. images: regex with groups (?P<v>video) (optional) and (?P<n>number)."""
    out = {}
    for path in repo.files:
        m = re.fullmatch(images, path)
        if not m:
            continue
        lab = label_path(m)
        if lab not in repo.files:
            continue
        video = m.groupdict().get("v") or "a"
        out.setdefault(video, []).append((int(m["n"]), path, lab))
    size = None
    for video, rows in sorted(out.items()):
        rows.sort()
        seq = []
        for n, path, lab in rows:
            try:
                if labels == "voc":
                    boxes = voc(repo.read(lab))
                else:
                    size = jpeg_size(repo.read(path))
                    boxes = yolo(repo.read(lab), size)
            except Exception:
                continue
            if names:
                boxes = [(names.get(b[0], b[0]),) + b[1:] for b in boxes]
            seq.append((n, (lambda p=path: repo.image(p)), boxes))
        yield video, seq


# ---------------------------------------------------------------- linking
def iou(a, b):
    x0, y0 = max(a[0], b[0]), max(a[1], b[1])
    x1, y1 = min(a[0] + a[2], b[0] + b[2]), min(a[1] + a[3], b[1] + b[3])
    i = max(0, x1 - x0) * max(0, y1 - y0)
    return i / (a[2] * a[3] + b[2] * b[3] - i + 1e-9)


def cover(a, b):
    """Share of a that b covers."""
    x0, y0 = max(a[0], b[0]), max(a[1], b[1])
    x1, y1 = min(a[0] + a[2], b[0] + b[2]), min(a[1] + a[3], b[1] + b[3])
    return max(0, x1 - x0) * max(0, y1 - y0) / (a[2] * a[3] + 1e-9)


def link(seq, gap, overlap):
    """Boxes of the same class in neighbouring frames -> tracks [(index into seq, class, box)]."""
    live, done = [], []
    for i, (n, _, boxes) in enumerate(seq):
        live2 = []
        for t in live:
            (done if n - seq[t[-1][0]][0] > gap else live2).append(t)
        live = live2
        if not boxes:
            continue
        score = np.zeros((len(live), len(boxes)))
        for a, t in enumerate(live):
            last = t[-1][2]
            if len(t) > 1:  # constant velocity
                k = (n - seq[t[-1][0]][0]) / max(1, seq[t[-1][0]][0] - seq[t[-2][0]][0])
                p = t[-2][2]
                pred = (
                    last[0] + k * (last[0] + last[2] / 2 - p[0] - p[2] / 2),
                    last[1] + k * (last[1] + last[3] / 2 - p[1] - p[3] / 2),
                    last[2],
                    last[3],
                )
            else:
                pred = last
            for b, row in enumerate(boxes):
                if row[0] == t[-1][1] and row[3] > 0 and row[4] > 0:
                    r = row[3] * row[4] / (last[2] * last[3] + 1e-9)
                    if 0.5 < r < 2:
                        score[a, b] = max(iou(pred, row[1:]), iou(last, row[1:]))
        used = set()
        if score.size:
            for a, t in enumerate(list(live)):
                b = int(score[a].argmax())
                s = score[a, b]
                # a clear mutual winner only: an ambiguous box ends the track rather than risk a swap
                if (
                    s >= overlap and score[:, b].argmax() == a and np.sort(score[a])[-2:][0] < 0.6 * s
                    if score.shape[1] > 1
                    else s >= overlap
                ):
                    if b not in used:
                        used.add(b)
                        t.append((i, boxes[b][0], boxes[b][1:]))
        for b, row in enumerate(boxes):
            if b not in used and row[3] > 0 and row[4] > 0:
                live.append([(i, row[0], row[1:])])
    return done + live


# ---------------------------------------------------------------- cropping
def crop(img, box):
    """330x330 centred on the box, scaled so that its context side is 127 px; and the box in it."""
    x, y, w, h = box
    c = (w + h) / 2
    k = CONTEXT / np.sqrt((w + c) * (h + c))
    cx, cy = x + w / 2, y + h / 2
    fill = img.mean(axis=(0, 1))
    if k < 0.5:
        small = cv2.resize(img, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
        kx, ky = small.shape[1] / img.shape[1], small.shape[0] / img.shape[0]
        img, cx, cy, r, rx, ry = small, cx * kx, cy * ky, 1.0, k / kx, k / ky
    else:
        r, rx, ry = k, k, k
    half = SIDE / 2
    M = np.array([[rx, 0, half - rx * cx - 0.5 + 0.5 * rx], [0, ry, half - ry * cy - 0.5 + 0.5 * ry]])
    patch = cv2.warpAffine(img, M, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=tuple(fill))
    return patch, (half - w * k / 2, half - h * k / 2, w * k, h * k)


def look(patch, box):
    x, y, w, h = (int(round(v)) for v in box)
    p = patch[max(0, y) : y + h, max(0, x) : x + w]
    p = cv2.cvtColor(cv2.resize(p, (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY).astype(np.float32)
    return (p - p.mean()) / (p.std() + 1e-3)


def write(name, seq, track, cls, rows, src, licence, stride, ncc, still):
    """Cut frames of a track into runs of 8-24 and write the first good run; returns True if something was written."""
    # frames where another box hides it, or too small, or cut by the frame, are left out
    pick, last = [], None
    for i, _, b in track:
        n, _, boxes = seq[i]
        if min(b[2], b[3]) < 16 or max(b[2], b[3]) / min(b[2], b[3]) > 6:
            continue
        if any(cover(b, o[1:]) > 0.4 and iou(b, o[1:]) < 0.95 and cover(o[1:], b) < 0.95 for o in boxes):
            continue
        if last is not None and n - last < stride:
            continue
        pick.append((i, b))
        last = n
    if len(pick) > 24:
        pick = (
            [pick[int(k)] for k in np.linspace(0, len(pick) - 1, 24)]
            if seq[pick[-1][0]][0] - seq[pick[0][0]][0] <= 24 * 30
            else pick[:24]
        )
    if len(pick) < 8:
        return False
    c = np.array([(b[0] + b[2] / 2, b[1] + b[3] / 2) for _, b in pick])
    s = np.sqrt(np.mean([b[2] * b[3] for _, b in pick]))
    if np.ptp(c, axis=0).max() < still * s:
        return False  # it never moves: teaches nothing about tracking
    crops, prev = [], None
    for i, b in pick:
        img = seq[i][1]()
        if img is None:
            continue
        H, W = img.shape[:2]
        side = SIDE / CONTEXT * np.sqrt((b[2] + (b[2] + b[3]) / 2) * (b[3] + (b[2] + b[3]) / 2))
        window = (b[0] + b[2] / 2 - side / 2, b[1] + b[3] / 2 - side / 2, side, side)
        if cover(b, (0, 0, W, H)) < 0.9 or cover(window, (0, 0, W, H)) < 0.12:  # cut off, or hardly any context
            continue
        patch, g = crop(img, b)
        p = look(patch, g)
        if prev is not None and float((p * prev).mean()) < ncc:
            if len(crops) >= 8:
                break
            crops, prev = [], None  # a cut, a swap or a bad box: start anew
        crops.append((patch, g))
        prev = p
    if len(crops) < 8:
        return False
    folder = f"{OUT}/train/{name}"
    os.makedirs(folder)
    with open(f"{folder}/groundtruth.txt", "w") as f:
        for k, (patch, g) in enumerate(crops, 1):
            cv2.imwrite(f"{folder}/{k:08d}.jpg", patch, [cv2.IMWRITE_JPEG_QUALITY, 88])
            f.write(",".join(f"{v:.3f}" for v in g) + "\n")
    rows.append([name, src, name.rsplit("_", 1)[0], cls, len(crops), licence])
    return True


# ---------------------------------------------------------------- sources
def jhmdb():
    """JHMDB clips (film and web clips of 21 actions) with the per-frame person boxes that YOWO's evaluation carries."""
    import av

    r, g = Repo("WhiteChan/Rec_JHMDB"), Repo("wei-tim/YOWO")
    z = zipfile.ZipFile(io.BytesIO(g.read("evaluation_ucf24_jhmdb/groundtruths_jhmdb.zip")))
    boxes = {}
    for f in z.namelist():
        m = re.fullmatch(r"groundtruths_jhmdb/(.*)_(\d{5})\.txt", f)
        if m:
            v = z.read(f).decode().split()
            x0, y0, x1, y1 = map(float, v[1:5])
            boxes.setdefault(m[1], {})[int(m[2])] = (x0, y0, x1 - x0, y1 - y0)
    base_count = {}
    for path in sorted(r.files):
        m = re.fullmatch(r"data/(.*)/(.*)\.avi", path)
        key = m and f"{m[1]}_{m[2]}"
        if not m or key not in boxes:
            continue
        base = re.sub(r"_[a-z]_[a-z]{2}_np\d_.*", "", m[2])  # clips of one film
        if base_count.get(base, 0) >= 2:
            continue
        base_count[base] = base_count.get(base, 0) + 1
        with av.open(io.BytesIO(r.read(path))) as c:
            imgs = [f.to_ndarray(format="bgr24") for f in c.decode(video=0)]
        seq = [(n, (lambda im=imgs[n - 1]: im), [("person",) + b]) for n, b in sorted(boxes[key].items()) if n <= len(imgs)]
        yield key, seq


def simple(name, images, labels, label_path, names=None):
    def make():
        yield from frames(Repo(name), images, labels, label_path, names)

    return make


def wtracking():
    r = Repo("w-tracking/w-tracking-dataset")
    for cam in (1, 2, 3):
        rows = [
            list(map(float, l.split()))
            for l in r.read(f"annotations/Person1/boundingbox/gt_cam{cam}.txt").decode().splitlines()
            if l.strip()
        ]
        seq = []
        for n, b in enumerate(rows, 1):
            p = f"ProcessedSeq/video{cam}/{n:04d}.jpg"
            ok = p in r.files and b[2] > 0 and b[3] > 0
            seq.append((n, (lambda p=p: r.image(p)), [("person",) + tuple(b)] if ok else []))
        yield f"cam{cam}", seq


def masks(name, images, mask_path):
    """Frame files with a binary mask each: the box of its biggest part."""

    def make():
        r, vids = Repo(name), {}
        for p in r.files:
            m = re.fullmatch(images, p)
            if m and mask_path(m) in r.files:
                vids.setdefault(m["v"], []).append((int(m["n"]), p, mask_path(m)))
        for v, rows in sorted(vids.items()):
            seq = []
            for n, p, q in sorted(rows):
                mk = r.image(q, cv2.IMREAD_GRAYSCALE)
                boxes = []
                if mk is not None:
                    k, _, st, _ = cv2.connectedComponentsWithStats((mk > 127).astype(np.uint8))
                    if k > 1:
                        j = 1 + int(st[1:, 4].argmax())
                        if st[j, 4] > 0.8 * (mk > 127).sum():
                            boxes = [("object",) + tuple(map(float, st[j, :4]))]
                seq.append((n, (lambda p=p: r.image(p)), boxes))
            yield v, seq

    return make


def blobs(seq_imgs, thresh, lo, hi, many):
    """Animals on a still arena under a still camera: what differs from the median of the clip, one clean blob each."""
    step = max(1, len(seq_imgs) // 40)
    grey = [cv2.cvtColor(i, cv2.COLOR_BGR2GRAY) for i in seq_imgs]
    bg = np.median(np.stack(grey[::step]), axis=0).astype(np.uint8)
    seq = []
    for n, (im, g) in enumerate(zip(seq_imgs, grey)):
        d = cv2.morphologyEx((cv2.absdiff(g, bg) > thresh).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        k, _, st, _ = cv2.connectedComponentsWithStats(d)
        H, W = d.shape
        st = [s for s in st[1:] if lo <= s[4] <= hi and s[0] > 1 and s[1] > 1 and s[0] + s[2] < W - 1 and s[1] + s[3] < H - 1]
        if not many:
            st = sorted(st, key=lambda s: -s[4])[:1]
        seq.append(
            (n, (lambda im=im: im), [("animal", float(s[0]) - 1, float(s[1]) - 1, float(s[2]) + 2, float(s[3]) + 2) for s in st])
        )
    return seq


def trex():
    r = Repo("mooch443/trex")
    imgs = [r.image(f"videos/test_frames/frame_{k:03d}.jpg") for k in range(200)]
    yield "guppies", blobs([i for i in imgs if i is not None], 25, 60, 3000, True)


def tracktor():
    import av

    r = Repo("vivekhsridhar/tracktor")
    for v, lo, hi in (("mouse_video", 300, 60000), ("spider_video", 100, 60000)):
        with av.open(io.BytesIO(r.read(f"videos/{v}.mp4"))) as c:
            imgs = [f.to_ndarray(format="bgr24") for f, _ in zip(c.decode(video=0), range(600))]
        yield v, blobs(imgs, 25, lo, hi, False)


T = lambda s: lambda m: m.expand(s)
# name: (repositories, what, licence, generator, options)
# looked at on the contact sheets and refused (too dark, loose or wide boxes, a still patch of light)
REFUSED = {"pano_frame": (20,), "cowculator_a": (2, 3, 5, 6, 7, 8)}
SOURCES = {
    "jhmdb": (
        ["WhiteChan/Rec_JHMDB", "wei-tim/YOWO"],
        "JHMDB action clips, box per frame",
        "clips: none stated in the repository; boxes: CC BY-NC 4.0 (YOWO)",
        jhmdb,
        dict(stride=2, cap=150, per=1, still=0.08, ncc=0.1, overlap=0.2),
    ),
    "cows": (
        ["2023yuan/cow-tracking"],
        "cows in a barn, VOC",
        "none stated",
        simple("2023yuan/cow-tracking", r"JPEGIMages/(?P<n>\d+)\.jpg", "voc", T(r"Annotations/\g<n>.xml")),
        dict(stride=2),
    ),
    "pano": (
        ["linagora-labs/panoramic-dataset-for-person-detection"],
        "people round a panoramic camera, VOC",
        "none stated",
        simple(
            "linagora-labs/panoramic-dataset-for-person-detection",
            r"JPEGImages/(?P<v>frame)(?P<n>\d+)\.jpg",
            "voc",
            T(r"Annotations/\g<v>\g<n>.xml"),
        ),
        dict(stride=2, gap=16, ncc=0.4, per=24, cap=36),
    ),
    "panog": (
        ["linto-ai/panoramic-dataset-for-gestures-detection"],
        "gestures of people, VOC",
        "none stated",
        simple(
            "linto-ai/panoramic-dataset-for-gestures-detection",
            r"JPEGImages/(?P<v>frame)(?P<n>\d+)\.jpg",
            "voc",
            T(r"Annotations/\g<v>\g<n>.xml"),
        ),
        dict(stride=2, gap=16, ncc=0.4, per=8, cap=30, still=0.2),
    ),
    "robotaksi": (
        ["serkan-ozel-2015400123/Teknofest2018Robotaksi"],
        "traffic signs from a small car, VOC",
        "none stated",
        simple(
            "serkan-ozel-2015400123/Teknofest2018Robotaksi",
            r"dataset/frame(?P<n>\d+)\.jpg",
            "voc",
            T(r"annotations/frame\g<n>.xml"),
        ),
        dict(stride=2, cap=25, ncc=0.5),
    ),
    "cartoon": (
        ["sauravakolia/Object-Detection-Of-Cartoons-Character"],
        "cartoon characters, YOLO",
        "none stated",
        simple(
            "sauravakolia/Object-Detection-Of-Cartoons-Character",
            r"img/(?P<v>[a-z]+)(?P<n>\d+)\.png",
            "yolo",
            T(r"labels/\g<v>\g<n>.txt"),
        ),
        dict(stride=1),
    ),
    "cowculator": (
        ["g0shy/cowCulator"],
        "cattle from above, YOLO",
        "none stated",
        simple("g0shy/cowCulator", r"frames2/frame_(?P<n>\d+)\.jpg", "yolo", T(r"labels2/frame_\g<n>.txt")),
        dict(stride=1),
    ),
    "shark": (
        ["aaronwrice1/DLShark"],
        "sharks from a drone, VOC",
        "none stated",
        simple("aaronwrice1/DLShark", r"data/images/frame(?P<n>\d+)\.jpg", "voc", T(r"data/annotations/frame\g<n>.xml")),
        dict(stride=1),
    ),
    "lerobot": (
        ["EnetzUni/LeRobotHackaton2025"],
        "robot workspace, YOLO",
        "none stated",
        simple(
            "EnetzUni/LeRobotHackaton2025",
            r"YOLOModel/images/\w+/frame_(?P<n>\d+)\.jpg",
            "yolo",
            lambda m: m.group(0).replace("images", "labels").replace(".jpg", ".txt"),
        ),
        dict(stride=1, gap=20, ncc=0.5, cap=15),
    ),
    "testlabels": (
        ["Pansakorn10/testlabels1"],
        "frames with YOLO boxes",
        "none stated",
        simple("Pansakorn10/testlabels1", r"images/frame(?P<n>\d+)\.jpg", "yolo", T(r"labels/frame\g<n>.txt")),
        dict(stride=1),
    ),
    "ltvideo": (
        ["Seerat-Shaikh/LTVideo4"],
        "video frames with YOLO boxes",
        "none stated",
        simple("Seerat-Shaikh/LTVideo4", r"images/train/frame_(?P<n>\d+)\.PNG", "yolo", T(r"labels/train/frame_\g<n>.txt")),
        dict(stride=1, gap=12),
    ),
    "wtracking": (
        ["w-tracking/w-tracking-dataset"],
        "one of four people, three cameras, box per frame",
        "none stated",
        wtracking,
        dict(stride=5, gap=2, cap=12, per=4),
    ),
    "trex": (["mooch443/trex"], "guppies from above", "GPL-3.0", trex, dict(stride=3, cap=8)),
    "tracktor": (["vivekhsridhar/tracktor"], "mouse, spider in arenas", "MIT", tracktor, dict(stride=5, cap=8)),
}


def sheet(name, made):
    """Contact sheet: up to 16 trajectories, 6 frames each, with the box."""
    if not made:
        return
    rng = np.random.default_rng(0)
    pick = [made[k] for k in sorted(rng.permutation(len(made))[:16])]
    rows = []
    for t in pick:
        folder = f"{OUT}/train/{t}"
        g = np.loadtxt(f"{folder}/groundtruth.txt", delimiter=",", ndmin=2)
        line = []
        for k in np.linspace(0, len(g) - 1, 6).astype(int):
            im = cv2.imread(f"{folder}/{k + 1:08d}.jpg")
            x, y, w, h = g[k]
            cv2.rectangle(im, (int(x), int(y)), (int(x + w), int(y + h)), (0, 255, 0), 2)
            line.append(cv2.resize(im[65:265, 65:265], (120, 120), interpolation=cv2.INTER_AREA))
        line = np.hstack(line)
        cv2.putText(line, t[:60], (3, 11), 0, 0.35, (0, 0, 255), 1)
        rows.append(line)
    while len(rows) % 2:
        rows.append(np.zeros_like(rows[0]))
    os.makedirs(SHEETS, exist_ok=True)
    cv2.imwrite(f"{SHEETS}/{name}.png", np.vstack([np.hstack(rows[i : i + 2]) for i in range(0, len(rows), 2)]))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--only", nargs="*")
    ap.add_argument("--sheets", action="store_true")
    ap.add_argument("--list", action="store_true")
    a = ap.parse_args()
    if a.list:
        print("\n".join(SOURCES))
        return
    os.makedirs(f"{OUT}/train", exist_ok=True)
    meta = f"{OUT}/meta.csv"
    for name in a.only or SOURCES:
        repos, what, licence, make, o = SOURCES[name]
        rows = []
        for d in os.listdir(f"{OUT}/train"):
            if d.startswith(name + "_"):
                shutil.rmtree(f"{OUT}/train/{d}")
        src = " + ".join(repos)
        try:
            for video, seq in make():
                v = re.sub(r"[^A-Za-z0-9]+", "-", video).strip("-")
                tracks = [t for t in link(seq, o.get("gap", 6), o.get("overlap", 0.3)) if len(t) >= 8]
                # long tracks become several pieces of at most 24 picks
                pieces = []
                for t in tracks:
                    k = 24 * o["stride"]
                    pieces += [t[j : j + k] for j in range(0, len(t), k) if len(t[j : j + k]) >= 8]
                rng = np.random.default_rng(zlib.crc32(v.encode()))
                pieces = [pieces[j] for j in rng.permutation(len(pieces))]
                count, refused = 0, REFUSED.get(f"{name}_{v}", ())
                for t in pieces:
                    if len(rows) >= o.get("cap", 40) or count >= o.get("per", 40):
                        break
                    if write(
                        f"{name}_{v}_{count}",
                        seq,
                        t,
                        t[0][1],
                        rows,
                        src,
                        licence,
                        o["stride"],
                        o.get("ncc", 0.25),
                        o.get("still", 0.25),
                    ):
                        if count in refused:
                            shutil.rmtree(f"{OUT}/train/{rows.pop()[0]}")
                        count += 1
        except Exception as e:
            print(name, "FAILED", type(e).__name__, e, flush=True)
        old = []
        if os.path.exists(meta):
            with open(meta) as f:
                old = [r for r in list(csv.reader(f))[1:] if not r[0].startswith(name + "_")]
        with open(meta, "w", newline="") as f:
            w = csv.writer(f, lineterminator="\n")
            w.writerow(["trajectory", "source", "video", "class", "frames", "licence"])
            w.writerows(old + rows)
        sheet(name, [r[0] for r in rows])
        print(name, len(rows), "trajectories", sum(r[4] for r in rows), "frames", flush=True)


if __name__ == "__main__":
    main()
