// Clips side by side on one clock: they start together and run at true speed whatever their length and frame rate; a
// shorter one rests on its last frame until all are through, then all start anew.

import { pause } from "./server.js";

const DRIFT = 0.12; // s that a clip may be off before it is moved
const REST = 0.7; // s between the end of the longest and the next start
const SPEEDS = [0.25, 0.5, 1, 1.5, 2, 4];
const WHOLE = 32e6; // bytes up to which a clip is loaded at once, which keeps connections free for answers
const KEPT = 60; // clips that stay in memory

const loaded = new Map(); // clip id -> promise of an address

function address(clip) {
  const direct = `clips/${encodeURIComponent(clip.id)}`;
  if (clip.bytes > WHOLE) return Promise.resolve(direct);
  const known = loaded.get(clip.id);
  if (known) {
    loaded.delete(clip.id); // to the end: the least recently used goes first
    loaded.set(clip.id, known);
    return known;
  }
  const promise = whole(direct);
  loaded.set(clip.id, promise);
  if (loaded.size > KEPT) {
    const [oldest, made] = loaded.entries().next().value;
    loaded.delete(oldest);
    made.then((url) => URL.revokeObjectURL(url));
  }
  return promise;
}

/** The clip in memory. While the server is away, again and again. */
async function whole(direct) {
  for (let attempt = 0; ; attempt++) {
    try {
      const reply = await fetch(direct);
      // What the server does not have, the video element tries by itself, and shows its own failure.
      return reply.ok ? URL.createObjectURL(await reply.blob()) : direct;
    } catch {
      await pause(attempt);
    }
  }
}

/** A video element that loads its clip and resolves `element.ready` when it can be shown, or never can. */
export function film(clip) {
  const video = document.createElement("video");
  Object.assign(video, { muted: true, playsInline: true, preload: "auto", disablePictureInPicture: true });
  video.setAttribute("aria-label", `Clip ${clip.name}`);
  video.ready = new Promise((resolve) => {
    video.addEventListener("loadeddata", resolve, { once: true });
    video.addEventListener("error", () => {
      video.broken = true;
      resolve();
    }, { once: true });
  });
  video.seconds = clip.seconds;
  address(clip).then((url) => { video.src = url; });
  return video;
}

export class Player {
  /** @param {(position: number, running: boolean, speed: number) => void} moved told of every step of the clock */
  constructor(moved) {
    this.moved = moved;
    this.videos = [];
    this.speed = 1;
    this.running = false;
    this.time = 0;
    this.last = 0;
    this.replays = 0;
    const still = matchMedia("(prefers-reduced-motion: reduce)");
    this.starts = () => !still.matches;
    const step = (now) => {
      this.step(now);
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  get length() {
    return Math.max(0, ...this.videos.map((video) => this.end(video)));
  }

  end(video) {
    return Number.isFinite(video.duration) ? video.duration : video.seconds;
  }

  /** Shows these videos from their start as soon as all can be shown; whether they still are the ones wanted. */
  async show(videos) {
    for (const video of this.videos) if (!videos.includes(video)) video.pause();
    this.videos = videos;
    this.running = false;
    this.time = 0;
    this.replays = 0;
    await Promise.all(videos.map((video) => video.ready));
    if (this.videos !== videos) return false;
    this.seek(0);
    this.running = this.starts();
    return true;
  }

  replay() {
    this.replays++;
    this.seek(0);
    this.running = true;
  }

  toggle() {
    if (!this.running && this.time >= this.length) this.seek(0);
    this.running = !this.running;
  }

  /** Goes to a time [s]. */
  seek(time) {
    this.time = time;
    for (const video of this.videos) {
      if (!video.broken) video.currentTime = Math.min(time, this.end(video));
    }
  }

  faster(steps) {
    const at = SPEEDS.indexOf(this.speed) + steps;
    this.speed = SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, at))];
  }

  step(now) {
    const passed = Math.min((now - this.last) / 1000, 0.25); // a tab in the background does not run away
    this.last = now;
    if (this.running) {
      this.time += passed * this.speed;
      if (this.time > this.length + REST * this.speed) this.seek(0);
    }
    for (const video of this.videos) this.follow(video);
    this.moved(this.length ? Math.min(this.time / this.length, 1) : 0, this.running, this.speed);
  }

  follow(video) {
    if (video.broken) return;
    const goes = this.running && this.time < this.end(video);
    if (goes) {
      video.playbackRate = this.speed;
      if (video.paused) video.play().catch(() => {}); // refused while a newer query replaces it
      if (!video.seeking && Math.abs(video.currentTime - this.time) > DRIFT * Math.max(1, this.speed)) {
        video.currentTime = this.time;
      }
    } else if (!video.paused) {
      video.pause();
    }
  }
}
