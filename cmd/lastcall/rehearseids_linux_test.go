//go:build !norehearse

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// giveRange has a command of rehearsal run by nobody in mounts of its own, in which this machine
// gives nobody a range of ids. That needs root.
func giveRange(t *testing.T, cmd *exec.Cmd, text string) {
	t.Helper()
	for _, tool := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%v: run make setup", err)
		}
	}
	dir := shared(t)
	ranges, program := filepath.Join(dir, "ranges"), filepath.Join(dir, "lastcall")
	if err := os.WriteFile(ranges, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	self, err := os.Open(cmd.Path) // its own directory is closed to nobody
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { self.Close() })
	if err := os.Symlink("/proc/self/fd/3", program); err != nil {
		t.Fatal(err)
	}
	const script = `mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"`
	args := append([]string{"unshare", "--mount", "sh", "-c", script, ranges, program}, cmd.Args[1:]...)
	if cmd.Path, err = exec.LookPath(args[0]); err != nil {
		t.Fatal(err)
	}
	cmd.Args, cmd.SysProcAttr, cmd.ExtraFiles = args, nil, []*os.File{self}
}

// neverReady is a probe that fails, so that the end of the program is awaited however slow it is.
const neverReady = "tcp://127.0.0.1:1"

const range65536 = "root:1:2\n65534:600000:65536\n"

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("ranges of ids for another user: run as root")
	}
}

// The program gives a file to another user of its image, and becomes that user.
func TestRehearseImage_WithARangeOfIDsHasAllItsUsers(t *testing.T) {
	asRoot(t)
	image := packImage(t, map[string]any{"Cmd": []string{"/server", "becomes"}})
	for _, network := range []string{networkHost, networkNone} {
		cmd, temporary := rehearsal(t, 0, "--readiness", neverReady, "--image", image, "--network", network)
		giveRange(t, cmd, range65536)
		out, err := cmd.CombinedOutput()
		if !strings.Contains(string(out), "became user 65534 group 1000, owner 65534 1000\n") || strings.Contains(string(out), "one user") {
			t.Errorf("network %s: %v\n%s", network, err, out)
		}
		empty(t, temporary)
	}
}

// Without a range of ids that can be used, the image has one user, and a note says why.
func TestRehearseImage_WithoutARangeOfIDsHasOneUserAndSaysWhy(t *testing.T) {
	asRoot(t)
	image := packImage(t, map[string]any{"Cmd": []string{"/server", "becomes"}})
	for text, want := range map[string]string{
		"":                        "/etc/subuid gives nobody no range of 65536 ids",
		"nobody:600000:65535\n":   "/etc/subuid gives nobody no range of 65536 ids",
		"nobody:4294967200:65536": "newuidmap: exit status 1",
	} {
		cmd, temporary := rehearsal(t, 0, "--readiness", neverReady, "--image", image)
		giveRange(t, cmd, text)
		out, _ := cmd.CombinedOutput()
		for _, want := range []string{"note: the image has one user here, since this is not root, and " + want, "chown", "without root its image has one user alone"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%q:\n%s\nwant %q", text, out, want)
			}
		}
		empty(t, temporary)
	}
}

// The kernel forgets to end a process with its parent when the process gets its rights, so this is
// arranged a second time.
func TestRehearseImage_WithARangeOfIDsLeavesNothingBehind(t *testing.T) {
	asRoot(t)
	image := packImage(t, nil)
	// Only in its environment.
	mark := filepath.Base(filepath.Dir(image)) + fmt.Sprint(time.Now().UnixNano())
	cmd, temporary := rehearsal(t, 0, "--image", image, "--grace", "5m", "--whole-grace", "--env", "MARK="+mark, "--env", "ADDRESS=127.0.0.1:0", "--", "/server", "hangs")
	giveRange(t, cmd, range65536)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "the program runs", func() bool { return marked(t, mark) > 0 })
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	empty(t, temporary)
	await(t, "the program is gone", func() bool { return marked(t, mark) == 0 })
}

// await waits until a look at all processes shows something.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time: ", what)
		}
	}
}
