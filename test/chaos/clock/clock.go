// Package clock gives programs a clock that can be stepped while they run, and does not touch the
// machine's clock. The programs are built with a time.Now that adds an offset to the time of day.
// The monotonic clock, which measures durations, is not moved, as when somebody sets a machine's
// clock. The offset is in a file that [EnvClock] names; all programs with the same clock map that
// file.
//
//	$(the result of Toolchain) build ./test/chaos/service
package clock

import (
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/internal/execfile"
)

// EnvClock names the file of a program's clock. Programs that were built without this clock ignore
// it.
const EnvClock = "CHAOS_CLOCK"

//go:embed offset.go.txt
var offset string

// reading is where time.Now reads the time of day.
const reading = "sec, nsec, mono := runtimeNow()\n"

// Toolchain creates, in a directory, a go command that builds programs with the clock, and returns
// its path. It is based on the go command in PATH. The go command refuses to overlay files of a
// toolchain in the module cache, where downloaded toolchains are, so the new command uses its
// toolchain through a symbolic link.
func Toolchain(ctx context.Context, dir string) (string, error) {
	found, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	goroot, command := filepath.Join(dir, "goroot"), filepath.Join(dir, "go")
	if err := os.Remove(goroot); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.Symlink(strings.TrimSpace(string(found)), goroot); err != nil {
		return "", err
	}
	overlay, err := overlayOf(goroot, dir)
	if err != nil {
		return "", err
	}
	script := fmt.Sprintf("#!/bin/sh\nexport GOROOT='%[1]s' GOTOOLCHAIN=local GOFLAGS=\"$GOFLAGS '-overlay=%[2]s'\"\nexec '%[1]s/bin/go' \"$@\"\n", goroot, overlay)
	return command, execfile.Write(command, []byte(script), 0o700)
}

// overlayOf writes the file for the flag -overlay of go build.
func overlayOf(goroot, dir string) (string, error) {
	original := filepath.Join(goroot, "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	before, after, found := strings.Cut(string(text), reading)
	if !found {
		return "", fmt.Errorf("%s: time.Now does not read the time as expected: adapt this package to the toolchain", original)
	}
	replaced, added := filepath.Join(dir, "time.go"), filepath.Join(dir, "offset.go")
	names, err := json.Marshal(map[string]any{"Replace": map[string]string{
		original: replaced, filepath.Join(filepath.Dir(original), "zchaosoffset.go"): added,
	}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, errors.Join(
		os.WriteFile(replaced, []byte(before+reading+"\tsec += *chaosClock\n"+after), 0o600),
		os.WriteFile(added, []byte(offset), 0o600),
		os.WriteFile(overlay, names, 0o600))
}

// Clock is the clock of several programs.
type Clock struct{ file *os.File }

// New creates the file of a clock without an offset. The file must exist as long as the programs
// run.
func New(path string) (*Clock, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	c := &Clock{file}
	if err := c.Set(0); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return c, nil
}

// Set steps the clock: from now on it is off by wrong, in seconds.
func (c *Clock) Set(wrong time.Duration) error {
	var seconds [8]byte
	binary.NativeEndian.PutUint64(seconds[:], uint64(wrong/time.Second))
	_, err := c.file.WriteAt(seconds[:], 0)
	return err
}

// Close closes the file. The file remains, and with it the programs' clocks.
func (c *Clock) Close() error { return c.file.Close() }
