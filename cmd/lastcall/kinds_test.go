package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
	"github.com/lastcall-go/lastcall/internal/execfile"
	"github.com/lastcall-go/lastcall/task"
)

// writeProgram creates a program next to a configuration file.
func writeProgram(t *testing.T, config, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(filepath.Dir(config), name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), execfile.Write(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

func TestKinds_AKindIsReadWithEveryKey(t *testing.T) {
	t.Setenv("WANTED", "yes")
	t.Setenv("SECRET", "no")
	path := writeConfig(t, `version: 1
kinds:
  thumbnail:
    exec: ["./thumb.sh", "--size", 200]
    dir: ./work
    env: {inherit: [WANTED, MISSING], set: {LEVEL: high, N: 3}}
    queue: images
    concurrency: 4
    timeout: 10m
    maxRunTime: 90s
    onStop: interrupt
    killAfter: 3s
    retry: {maxAttempts: -1, backoff: 2s, permanentExitCodes: [64, 65]}
    maxCrashes: 7
    retention: {succeeded: 24h, failed: 720h}
    limits: {memory: 256Mi, cpu: 500m, pids: 100}
    hostPid: true
`)
	writeProgram(t, path, "thumb.sh", "#!/bin/sh\n", 0o700)
	writeProgram(t, path, "work/keep", "", 0o600)
	c, err := readConfig(path)
	if err != nil || len(c.programs) != 1 {
		t.Fatalf("%+v, %v", c.programs, err)
	}
	k, dir := c.programs[0], filepath.Dir(path)
	if k.Name != "thumbnail" || k.Path != filepath.Join(dir, "thumb.sh") || k.Dir != filepath.Join(dir, "work") ||
		!slices.Equal(k.Argv, []string{"./thumb.sh", "--size", "200"}) || !slices.Equal(k.Env, []string{"WANTED=yes", "LEVEL=high", "N=3"}) {
		t.Errorf("%+v", k)
	}
	if k.Queue != "images" || k.Concurrency != 4 || k.Timeout != 10*time.Minute || k.MaxRunTime != 90*time.Second || k.OnStop != task.InterruptOnStop || k.KillAfter != 3*time.Second ||
		k.MaxAttempts != -1 || k.Backoff != 2*time.Second || !slices.Equal(k.Permanent, []int{64, 65}) || k.MaxCrashes != 7 {
		t.Errorf("%+v", k)
	}
	if want := (task.Retention{Succeeded: 24 * time.Hour, Failed: 720 * time.Hour}); k.Retention != want {
		t.Errorf("retention %+v", k.Retention)
	}
	if want := (confine.Limits{Memory: 256 << 20, CPU: 500, PIDs: 100}); k.Limits != want || !k.HostPID || k.User != nil {
		t.Errorf("limits %+v, host PID %v, user %+v", k.Limits, k.HostPID, k.User)
	}
}

func TestKinds_AKindOfOneLineHasDefaultsAndNoneOfTheServersSecrets(t *testing.T) {
	t.Setenv("LASTCALL_STORE", "postgres://u:secret@h/d")
	t.Setenv("HOME", "/home/somebody")
	path := writeConfig(t, "version: 1\nkinds:\n  k: {exec: [sh, -c, 'exit 0']}\n")
	c, err := readConfig(path)
	if err != nil || len(c.programs) != 1 {
		t.Fatalf("%+v, %v", c.programs, err)
	}
	k := c.programs[0]
	if !filepath.IsAbs(k.Path) || filepath.Base(k.Path) != "sh" || k.Dir != filepath.Dir(path) || k.OnStop != task.FinishOnStop || k.KillAfter != 10*time.Second || k.Backoff != 10*time.Second {
		t.Errorf("%+v", k)
	}
	if !slices.Contains(k.Env, "HOME=/home/somebody") || strings.Contains(strings.Join(k.Env, " "), "secret") {
		t.Errorf("environment %q", k.Env)
	}
}

func TestKinds_AProgramThatThisMachineCannotStartIsToldWithWhatToDo(t *testing.T) {
	for kind, want := range map[string]string{
		"exec: [./crlf.sh]":    ":4: kind k: exec: DIR/crlf.sh cannot be started: its first line ends with CR LF, so that the system looks for \"/bin/sh\\r\"",
		"exec: [./bom.sh]":     "it begins with a byte order mark (BOM), behind which the system does not see the #!",
		"exec: [./text.sh]":    "it is no program of this machine, and no script",
		"exec: [./nested.sh]":  "its first line names the interpreter \"DIR/crlf.sh\"; of that: its first line ends with CR LF",
		"exec: [./without.sh]": "names the interpreter \"/no/such/thing\", which is not there: install it, or change the line",
		"exec: [sh]\n    env: {set: {LONG: '" + strings.Repeat("x", 200_000) + "'}}": ":5: kind k: env.set: LONG has 200005 bytes with its name, and no variable may have more than 131071",
	} {
		path := writeConfig(t, "version: 1\nkinds:\n  k:\n    "+kind+"\n")
		writeProgram(t, path, "crlf.sh", "#!/bin/sh\r\nexit 0\r\n", 0o700)
		writeProgram(t, path, "bom.sh", "\xef\xbb\xbf#!/bin/sh\n", 0o700)
		writeProgram(t, path, "text.sh", "exit 0\n", 0o700)
		writeProgram(t, path, "nested.sh", "#!"+filepath.Join(filepath.Dir(path), "crlf.sh")+"\n", 0o700)
		writeProgram(t, path, "without.sh", "#!/no/such/thing\n", 0o700)
		_, err := readConfig(path)
		want = strings.ReplaceAll(want, "DIR", filepath.Dir(path))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%q:\n%v\nwant %q", kind, err, want)
		}
	}
}

func TestKinds_EveryProblemOfAKindIsToldWithItsLineAndWhatToDo(t *testing.T) {
	for kind, want := range map[string]string{
		"exec: [./missing.sh]":                                              ":4: kind k: exec: DIR/missing.sh does not exist",
		"exec: [./plain.txt]":                                               ":4: kind k: exec: DIR/plain.txt cannot be executed: chmod +x it",
		"exec: [./work]":                                                    ":4: kind k: exec: DIR/work is a directory",
		"exec: [no-such-program]":                                           ":4: kind k: exec: no program no-such-program in the PATH",
		"exec: [good.sh]":                                                   "write ./good.sh for the one next to the file",
		"exec: ./good.sh --size 200":                                        " is no list: write [\"./program\", \"argument\"]",
		"exec: []":                                                          ":4: kind k: exec: no program given",
		"queue: q":                                                          ":3: kind k: exec: no program given",
		"exec: [./good.sh, \"a\\0b\"]":                                      "NUL",
		"exce: [./good.sh]":                                                 ":4: unknown key exce: do you mean exec?",
		"exec: [./good.sh]\n    colour: red":                                ":5: unknown key colour: the keys here are exec, dir, env",
		"exec: [./good.sh]\n    retry: {tries: 3}":                          ":5: unknown key tries: the keys here are maxAttempts, backoff, permanentExitCodes",
		"exec: [./good.sh]\n    on_stop: finish":                            ":5: unknown key on_stop: do you mean onStop?",
		"exec: [./good.sh]\n    exec: [./good.sh]":                          ":5: key exec is there twice, first in line 4",
		"exec: [./good.sh]\n    dir: ./none":                                ":5: kind k: dir: DIR/none does not exist: make it",
		"exec: [./good.sh]\n    dir: ./good.sh":                             "is not a directory",
		"exec: [./good.sh]\n    onStop: wait":                               ":5: kind k: onStop: \"wait\" is neither finish",
		"exec: [./good.sh]\n    timeout: 10":                                ":5: 10 has no unit: write 10s",
		"exec: [./good.sh]\n    timeout: ten":                               ":5: ten is no duration",
		"exec: [./good.sh]\n    maxRunTime: 10ms":                           ":5: kind k: maxRunTime: 10ms is less than 1s: use more, or leave it out",
		"exec: [./good.sh]\n    timeout: -5m":                               ":5: kind k: timeout: -5m0s is less than 100ms",
		"exec: [./good.sh]\n    timeout: 900000h":                           "is more than a year: leave it out for none",
		"exec: [./good.sh]\n    timeout: 9999999h":                          ":5: 9999999h is longer than anything lasts: use less",
		"exec: [./good.sh]\n    killAfter: 0s":                              ":5: kind k: killAfter: 0s is less than 10ms",
		"exec: [./good.sh]\n    killAfter: 48h":                             "is more than 1h: a stop will hardly leave that much",
		"exec: [./good.sh]\n    concurrency: 0":                             ":5: kind k: concurrency: 0: use a positive number, or leave it out",
		"exec: [./good.sh]\n    concurrency: many":                          ":5: many is no whole number",
		"exec: [./good.sh]\n    retention: {failed: 1s}":                    "retention.failed: 1s is less than 1m0s",
		"exec: [./good.sh]\n    retention: {done: 1h}":                      "unknown key",
		"exec: [./good.sh]\n    maxCrashes: 0":                              "use a positive number, or -1 for no end",
		"exec: [./good.sh]\n    maxCrashes: 9999999":                        "is that meant?",
		"exec: [./good.sh]\n    queue: a b":                                 ":5: kind k: queue: queue \"a b\" may have only letters",
		"exec: [./good.sh]\n    env: {inherit: PATH}":                       ":5: PATH is no list",
		"exec: [./good.sh]\n    env: {set: {A=B: c}}":                       "cannot be the name of a variable",
		"exec: [./good.sh]\n    env: {set: {LASTCALL_FENCE: '1'}}":          "LASTCALL_FENCE is set for each run: take it out",
		"exec: [./good.sh]\n    retry:\n      permanentExitCodes: [64, 75]": ":6: kind k: retry.permanentExitCodes: 75 means that trying again may help",
		"exec: [./good.sh]\n    retry:\n      permanentExitCodes: [0]":      "0 is no exit code of a failure",
		"exec: [./good.sh]\n    retry:\n      permanentExitCodes: [a]":      ":6: a is no whole number",
		"exec: [./good.sh]\n    retry:\n      backoff: 0s":                  ":6: kind k: retry.backoff: 0s is less than 10ms",
		"exec: [./good.sh]\n    user: [a]":                                  ":5: a list is no text",
		"exec: [./good.sh]\n    limits: 256Mi":                              ":5: 256Mi is no mapping",
		"exec: [./good.sh]\n    limits: {ram: 1Gi}":                         ":5: unknown key ram: the keys here are memory, cpu, pids, tmpdir",
		"exec: [./good.sh]\n    limits:\n      memory: lots":                ":6: kind k: limits.memory: \"lots\" is no amount of memory: write it as 256Mi",
		"exec: [./good.sh]\n    limits:\n      cpu: 1s":                     ":6: kind k: limits.cpu: \"1s\" is no number of processors: write it as 500m",
		"exec: [./good.sh]\n    limits:\n      pids: 1":                     ":6: kind k: limits.pids: 1: use 2 or more, or leave it out",
		"exec: [./good.sh]\n    hostPid: maybe":                             ":5: maybe is neither true nor false",
		"exec: [./good.sh]\n---\nversion: 1":                                "more than one document",
		"exec: [./good.sh]\n    limits:\n      tmpdir: lots":                ":6: kind k: limits.tmpdir: \"lots\" is no amount of room: write it as 256Mi",
		"exec: [./good.sh\n":                                                ":3: did not find expected",
	} {
		path := writeConfig(t, "version: 1\nkinds:\n  k:\n    "+kind+"\n")
		writeProgram(t, path, "good.sh", "#!/bin/sh\n", 0o700)
		writeProgram(t, path, "plain.txt", "", 0o600)
		writeProgram(t, path, "work/keep", "", 0o600)
		_, err := readConfig(path)
		want = strings.ReplaceAll(want, "DIR", filepath.Dir(path))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%q:\n%v\nwant %q", kind, err, want)
		}
	}
}

func TestKinds_ANameThatNoKindCanHaveIsRefused(t *testing.T) {
	for kinds, want := range map[string]string{
		"  a b: {exec: [sh]}\n":                      ":3: kind \"a b\" may have only letters",
		"  hash-tree: {exec: [sh]}\ndemoKinds: true": "a demonstration kind has that name",
		"  - k\n": "is no mapping",
	} {
		c, err := readConfig(writeConfig(t, "version: 1\nstore: sqlite:x\nkinds:\n"+kinds))
		if err == nil {
			err = c.complete()
		}
		if want = strings.Replace(want, ":3:", ":4:", 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", kinds, err, want)
		}
	}
}

func TestKinds_AProgramOfAnotherUserHasThatUsersHomeAndNotTheServers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("programs of other users: run as root")
	}
	t.Setenv("HOME", "/home/somebody")
	t.Setenv("USER", "somebody")
	for user, want := range map[string][]string{
		"root": {"HOME=/root", "USER=root"}, "23456:7": nil, "": {"HOME=/home/somebody", "USER=somebody"},
	} {
		path := writeConfig(t, "version: 1\nkinds:\n  k: {exec: [/bin/true], user: '"+user+"', env: {inherit: [HOME, USER]}}\n")
		c, err := readConfig(path)
		if err != nil || len(c.programs) != 1 {
			t.Fatalf("%+v, %v", c.programs, err)
		}
		if k := c.programs[0]; !slices.Equal(k.Env, want) || (k.User == nil) != (user == "") {
			t.Errorf("%s: %q, %+v", user, k.Env, k.User)
		}
	}
}
