"""The shared library of the arm's model that version 5 sends to its clients, compiled on demand by a C compiler."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from math import cos, sin
from pathlib import Path

from robo_reward.envs.arm.model import ArmModel
from robo_reward.hardware.emulator.robot.urdf import inertia_tensor

log = logging.getLogger(__name__)

X64, LINUX = 0, 0
"""Numbers on the wire of the supported architecture and operating system."""

_SOURCE = r"""
#include <math.h>
#include <string.h>

typedef struct { double R[3][3], p[3]; } Frame;

static void cross(const double a[3], const double b[3], double out[3]) {
  double x = a[1] * b[2] - a[2] * b[1], y = a[2] * b[0] - a[0] * b[2], z = a[0] * b[1] - a[1] * b[0];
  out[0] = x; out[1] = y; out[2] = z;
}

static void turn(const double R[3][3], const double v[3], double out[3]) {
  for (int i = 0; i < 3; i++) out[i] = R[i][0] * v[0] + R[i][1] * v[1] + R[i][2] * v[2];
}

/* Frames of the joints 1 to 7 in 0 to 6, the flange in 7, the end effector in 8. */
static void chain(const double *q, const double *F_T_EE, Frame f[9]) {
  Frame now = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}, {0, 0, 0}};
  for (int i = 0; i < 7; i++) {
    double c = cos(q[i]), s = sin(q[i]), R[3][3];
    for (int k = 0; k < 3; k++) {
      double x = now.R[k][0], y = now.R[k][1], z = now.R[k][2];
      double y1 = CA[i] * y + SA[i] * z, z1 = CA[i] * z - SA[i] * y;
      R[k][0] = c * x + s * y1;
      R[k][1] = c * y1 - s * x;
      R[k][2] = z1;
      now.p[k] += A[i] * x + D[i] * z1;
    }
    memcpy(now.R, R, sizeof R);
    f[i] = now;
  }
  for (int k = 0; k < 3; k++) now.p[k] += FLANGE * now.R[k][2];
  f[7] = f[8] = now;
  if (F_T_EE)
    for (int i = 0; i < 3; i++) {
      for (int j = 0; j < 3; j++) {
        f[8].R[i][j] = 0;
        for (int k = 0; k < 3; k++) f[8].R[i][j] += now.R[i][k] * F_T_EE[4 * j + k];
      }
      for (int k = 0; k < 3; k++) f[8].p[i] += now.R[i][k] * F_T_EE[12 + k];
    }
}

static void pose(const double *q, const double *F_T_EE, int n, double *out) {
  Frame f[9];
  chain(q, F_T_EE, f);
  for (int j = 0; j < 3; j++) {
    for (int i = 0; i < 3; i++) out[4 * j + i] = f[n].R[i][j];
    out[4 * j + 3] = 0;
    out[12 + j] = f[n].p[j];
  }
  out[15] = 1;
}

static void jacobian(const double *q, const double *F_T_EE, int n, int body, double *out) {
  static const double zero[7];
  Frame f[9];
  chain(q ? q : zero, F_T_EE, f);
  memset(out, 0, 42 * sizeof *out);
  for (int j = 0; j < 7 && j <= n; j++) {
    double z[3], r[3], v[3];
    for (int k = 0; k < 3; k++) { z[k] = f[j].R[k][2]; r[k] = f[n].p[k] - f[j].p[k]; }
    cross(z, r, v);
    for (int i = 0; i < 3; i++)
      for (int k = 0; k < 3; k++) {
        double axis = body ? f[n].R[k][i] : (k == i);
        out[6 * j + i] += axis * v[k];
        out[6 * j + 3 + i] += axis * z[k];
      }
  }
}

typedef struct { double m, com[3], I[3][3]; } Body;
static const Body LINKS[7] = {@LINKS@};

/* Newton and Euler's recursion in the base frame: torques for a motion under gravity. */
static void torques(const double *q, const double *dq, const double *ddq, const double *g, const Body *load,
                    double *tau) {
  Frame f[9];
  double w[3] = {0, 0, 0}, dw[3] = {0, 0, 0}, a[3], before[3] = {0, 0, 0};
  double F[8][3], N[8][3], at[8][3];
  for (int k = 0; k < 3; k++) a[k] = g ? -g[k] : 0;
  chain(q, 0, f);
  for (int i = 0; i < 8; i++) {
    const Body *b = i < 7 ? &LINKS[i] : load;
    const Frame *here = &f[i < 7 ? i : 6];
    double t[3], u[3], com[3], ac[3], local[3], Iw[3], Idw[3];
    if (i < 7) {
      double z[3], r[3];
      for (int k = 0; k < 3; k++) { z[k] = here->R[k][2]; r[k] = here->p[k] - before[k]; before[k] = here->p[k]; }
      cross(w, r, t); cross(w, t, t); cross(dw, r, u);
      for (int k = 0; k < 3; k++) a[k] += t[k] + u[k];
      for (int k = 0; k < 3; k++) t[k] = z[k] * (dq ? dq[i] : 0);
      cross(w, t, u);
      for (int k = 0; k < 3; k++) { dw[k] += u[k] + z[k] * (ddq ? ddq[i] : 0); w[k] += t[k]; }
    }
    memcpy(local, b->com, sizeof local);
    if (i == 7) local[2] += FLANGE;
    turn(here->R, local, com);
    cross(w, com, t); cross(w, t, t); cross(dw, com, u);
    for (int k = 0; k < 3; k++) { ac[k] = a[k] + t[k] + u[k]; F[i][k] = b->m * ac[k]; at[i][k] = here->p[k] + com[k]; }
    for (int k = 0; k < 3; k++) {
      t[k] = here->R[0][k] * w[0] + here->R[1][k] * w[1] + here->R[2][k] * w[2];
      u[k] = here->R[0][k] * dw[0] + here->R[1][k] * dw[1] + here->R[2][k] * dw[2];
    }
    turn(b->I, t, Iw); turn(b->I, u, Idw);
    cross(t, Iw, t);
    for (int k = 0; k < 3; k++) t[k] += Idw[k];
    turn(here->R, t, N[i]);
  }
  for (int i = 0; i < 7; i++) {
    double sum[3] = {0, 0, 0};
    for (int j = i; j < 8; j++) {
      double r[3], t[3];
      for (int k = 0; k < 3; k++) r[k] = at[j][k] - f[i].p[k];
      cross(r, F[j], t);
      for (int k = 0; k < 3; k++) sum[k] += t[k] + N[j][k];
    }
    tau[i] = sum[0] * f[i].R[0][2] + sum[1] * f[i].R[1][2] + sum[2] * f[i].R[2][2];
  }
}

static Body loaded(const double *I, double m, const double *com) {
  Body b;
  memset(&b, 0, sizeof b);
  b.m = m;
  for (int i = 0; i < 3; i++) {
    b.com[i] = com[i];
    for (int j = 0; j < 3; j++) b.I[i][j] = I ? I[3 * j + i] : 0;
  }
  return b;
}

void M_NE(const double *q, const double *I, double m, const double *com, double *out) {
  Body load = loaded(I, m, com);
  for (int i = 0; i < 7; i++) {
    double unit[7] = {0};
    unit[i] = 1;
    torques(q, 0, unit, 0, &load, out + 7 * i);
  }
}

void c_NE(const double *q, const double *dq, const double *I, double m, const double *com, double *out) {
  Body load = loaded(I, m, com);
  torques(q, dq, 0, 0, &load, out);
}

void g_NE(const double *q, const double *g, double m, const double *com, double *out) {
  Body load = loaded(0, m, com);
  torques(q, 0, 0, g, &load, out);
}

#define JOINT(n) \
  void O_T_J##n(const double *q, double *out) { pose(q, 0, n - 1, out); }
#define MOVED(n) \
  void O_J_J##n(const double *q, double *out) { jacobian(q, 0, n - 1, 0, out); } \
  void Ji_J_J##n(const double *q, double *out) { jacobian(q, 0, n - 1, 1, out); }
JOINT(1) JOINT(2) JOINT(3) JOINT(4) JOINT(5) JOINT(6) JOINT(7) JOINT(8)
MOVED(2) MOVED(3) MOVED(4) MOVED(5) MOVED(6) MOVED(7) MOVED(8)
void O_J_J1(double *out) { jacobian(0, 0, 0, 0, out); }
void Ji_J_J1(double *out) { jacobian(0, 0, 0, 1, out); }
void O_T_J9(const double *q, const double *F_T_EE, double *out) { pose(q, F_T_EE, 8, out); }
void O_J_J9(const double *q, const double *F_T_EE, double *out) { jacobian(q, F_T_EE, 8, 0, out); }
void Ji_J_J9(const double *q, const double *F_T_EE, double *out) { jacobian(q, F_T_EE, 8, 1, out); }
"""


def model_library(arm: ArmModel, architecture: int = X64, system: int = LINUX) -> bytes:
    """Returns the library with libfranka's 33 functions for x86-64 Linux, or nothing where it cannot be compiled.

    Args:
        arm: the arm whose kinematics and masses to compile.
        architecture: the architecture that the client asks for.
        system: the operating system that the client asks for.
    """
    if (architecture, system) != (X64, LINUX):
        log.warning(
            "a model library for architecture %d, system %d was asked for: only x86-64 Linux", architecture, system
        )
        return b""
    return _compile_library(arm)


def model_source(arm: ArmModel) -> str:
    """Returns the library's source in C."""
    rows = (
        ("A", [a for a, _, _ in arm.dh]),
        ("D", [d for _, d, _ in arm.dh]),
        ("CA", [round(cos(alpha)) for _, _, alpha in arm.dh]),  # exact, since all are multiples of a right angle
        ("SA", [round(sin(alpha)) for _, _, alpha in arm.dh]),
    )
    tables = "".join(f"static const double {name}[7] = {{{', '.join(map(repr, row))}}};\n" for name, row in rows)
    links = []
    for link in arm.links:
        xx, yy, zz, xy, xz, yz = inertia_tensor(link)
        numbers = (link.mass, *link.com, xx, xy, xz, xy, yy, yz, xz, yz, zz)
        links.append(", ".join(map(repr, numbers)))
    return f"{tables}#define FLANGE {arm.flange!r}\n" + _SOURCE.replace("@LINKS@", ",\n".join(links))


@cache
def _compile_library(arm: ArmModel) -> bytes:
    compiler = shlex.split(os.environ.get("CC", "")) or [
        next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), "")
    ]
    if not compiler[0]:
        log.warning("no C compiler (cc, gcc, clang or $CC): clients that load the model, such as panda_py.Panda, fail")
        return b""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "model.c", Path(folder) / "model.so"
        source.write_text(model_source(arm))
        command = [*compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-lm"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", b"") or b""
            log.warning("the model library does not compile: %s %s", error, said.decode(errors="replace")[:500])
            return b""
        return library.read_bytes()
