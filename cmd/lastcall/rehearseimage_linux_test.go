//go:build !norehearse

package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/execfile"
	"github.com/lastcall-go/lastcall/internal/freeport"
	"github.com/lastcall-go/lastcall/rehearse"
)

// rehearsed is the server that is packed into images. It is built without a C library.
var rehearsed = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "rehearsed")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "server"), "./rehearse/testdata/server")
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "server"))
})

// packImage packs the server as docker save does, into an image from scratch.
func packImage(t *testing.T, config map[string]any) string {
	t.Helper()
	server, err := rehearsed()
	if err != nil {
		t.Fatal(err)
	}
	archive := func(files ...any) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i := 0; i < len(files); i += 2 {
			content := files[i+1].([]byte)
			h := &tar.Header{Name: files[i].(string), Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}
			if strings.HasSuffix(h.Name, "/") {
				h.Typeflag = tar.TypeDir
			}
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(content); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	object := func(value any) []byte {
		b, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	layer := archive("etc/", []byte{}, "etc/passwd", []byte("app:x:1000:1000::/home/app:\n"), "server", server)
	name := filepath.Join(shared(t), "app.tar")
	content := archive(
		"config.json", object(map[string]any{"architecture": runtime.GOARCH, "os": "linux", "config": config,
			"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}}}),
		"layer.tar", layer,
		"manifest.json", object([]any{map[string]any{"Config": "config.json", "RepoTags": []string{"app:1"}, "Layers": []string{"layer.tar"}}}))
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// shared returns a directory that every user of this machine may enter and write to.
func shared(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o777), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// rehearsal returns the program as a user runs it, with a directory for its temporary files. For
// another user, who cannot enter the directory of unwatched, it has the race detector.
func rehearsal(t *testing.T, uid uint32, args ...string) (cmd *exec.Cmd, temporary string) {
	t.Helper()
	temporary = shared(t)
	program := "/proc/self/exe"
	if uid == uint32(os.Geteuid()) {
		var err error
		if program, err = unwatched(); err != nil {
			t.Fatal(err)
		}
	}
	cmd = exec.CommandContext(t.Context(), program, append([]string{"rehearse"}, args...)...)
	cmd.Args[0], cmd.Dir = "lastcall", temporary
	cmd.Env = append(os.Environ(), "TMPDIR="+temporary, "LASTCALL_TEST_SECRET=hidden")
	if uid != uint32(os.Geteuid()) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	return cmd, temporary
}

// empty waits until nothing is left of an image.
func empty(t *testing.T, dir string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left, err := os.ReadDir(dir)
		if err == nil && len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v is left (%v)", left, err)
		}
	}
}

// users returns root and another user, as far as this process may become them.
func users() []uint32 {
	if uid := os.Geteuid(); uid != 0 {
		return []uint32{uint32(uid)}
	}
	return []uint32{0, 65534}
}

// fakePodman returns a directory with a program that has one image, and exports it as Podman does.
func fakePodman(t *testing.T, image string) string {
	t.Helper()
	dir := shared(t)
	script := "#!/bin/sh\ncase \"$*\" in 'image inspect app:1') echo '[{}]';; 'image save app:1') cat " + image + ";; *) exit 125; esac\n"
	if err := execfile.Write(filepath.Join(dir, "podman"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The image's stop signal is the only one for which the server has a handler. One image is a file,
// and one is that of an engine.
func TestRehearseImage_PassesWithWhatTheImageSays(t *testing.T) {
	for _, uid := range users() {
		for _, network := range []string{"host", "none"} {
			t.Run(fmt.Sprint(uid, network), func(t *testing.T) {
				t.Parallel()
				// The network has no other program.
				where, isolation := "127.0.0.1:80", "with the files of the image app:1 of podman alone"
				if network == "host" {
					where, isolation = freeport.Address(t), "with the image's files alone"
				}
				image := packImage(t, map[string]any{
					"User": "app", "WorkingDir": "/work", "Entrypoint": []string{"/server"}, "Cmd": []string{"quits"},
					"Env": []string{"ADDRESS=" + where}, "StopSignal": "SIGQUIT",
				})
				path := os.Getenv("PATH")
				if network == "none" {
					image, path = "app:1", fakePodman(t, image)+":"+path
				}
				cmd, temporary := rehearsal(t, uid, "--json", "--grace", "20s", "--image", image, "--network", network)
				cmd.Env = append(cmd.Env, "PATH="+path)
				var out, remarks bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &remarks
				if err := cmd.Run(); err != nil {
					t.Fatalf("%v\n%s\n%s", err, &remarks, &out)
				}
				var report rehearse.Report
				if err := json.Unmarshal(out.Bytes(), &report); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(report.Command, []string{"/server", "quits"}) || len(report.Results) != 1 {
					t.Fatalf("%+v", report)
				}
				r := report.Results[0]
				if len(r.Findings) > 0 || r.ExitCode != 0 || r.Answered < 50 || !strings.Contains(r.Isolation, isolation) {
					t.Errorf("%+v", r)
				}
				empty(t, temporary)
			})
		}
	}
}

// Whatever ends a rehearsal, it leaves neither the program nor its files behind.
func TestRehearseImage_LeavesNothingBehind(t *testing.T) {
	for _, network := range []string{"host", "none"} {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(fmt.Sprint(network, " ", sig), func(t *testing.T) {
				t.Parallel()
				image := packImage(t, map[string]any{"Entrypoint": []string{"/server", "hangs"}, "Env": []string{"ADDRESS=127.0.0.1:0"}})
				// Only in its environment.
				mark := filepath.Base(filepath.Dir(image)) + fmt.Sprint(time.Now().UnixNano())
				cmd, temporary := rehearsal(t, uint32(os.Geteuid()), "--network", network, "--image", image, "--env", "MARK="+mark, "--", "/server", "hangs")
				var said bytes.Buffer
				cmd.Stdout, cmd.Stderr = &said, &said
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				await(t, "the program runs", func() bool { return marked(t, mark) > 0 })
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				err := cmd.Wait()
				if code := cmd.ProcessState.ExitCode(); sig != syscall.SIGKILL && (code != 2 || !strings.Contains(said.String(), "the rehearsal was ended")) {
					t.Errorf("exit code %d (%v)\n%s", code, err, &said)
				}
				empty(t, temporary)
				await(t, "the program is gone", func() bool { return marked(t, mark) == 0 })
			})
		}
	}
}

// marked counts the processes that have a text in their environment.
func marked(t *testing.T, mark string) (n int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		text, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ESRCH) && !errors.Is(err, fs.ErrPermission) {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte(mark)) {
			n++
		}
	}
	return n
}

func TestRehearseImage_WhatIsWrongIsASentence(t *testing.T) {
	image := packImage(t, map[string]any{"Cmd": []string{"/server", "ends"}, "ExposedPorts": map[string]any{"1/tcp": map[string]any{}}})
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"--image", "./none.tar"}, 2, []string{"image ./none.tar: no such file or directory, and it cannot be the name"}},
		{[]string{"--image", "/proc/self/exe"}, 2, []string{"neither a file of docker save or podman save nor an OCI layout"}},
		{[]string{"--image", image}, 2, []string{"note: the image exposes port 1,", "no database here"}},
		{[]string{"--image", image, "--", "/none"}, 2, []string{"start /none: in the image: ", "no such file"}},
		{[]string{"--image", packImage(t, nil)}, 2, []string{"neither ENTRYPOINT nor CMD: give the command behind --"}},
		{[]string{"--image", packImage(t, map[string]any{"User": "who", "Cmd": []string{"/server"}})}, 2, []string{"has no such user"}},
		{[]string{"--network", "moon", "--", "true"}, 2, []string{`--network "moon": it is host or none`}},
	} {
		cmd, temporary := rehearsal(t, uint32(os.Geteuid()), c.args...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != c.code {
			t.Errorf("%q: %v, want exit code %d", c.args, err, c.code)
		}
		for _, want := range c.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%q:\n%s\nwant %q", c.args, out, want)
			}
		}
		empty(t, temporary)
	}
}

// In a network of its own there are only the program and its clients.
func TestRehearseNetwork_NoneReachesNobody(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().(*net.TCPAddr)
	dial := fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%d && echo reached-$((6*7)); exit 0", address.Port)
	for network, want := range map[string]bool{"host": true, "none": false} {
		for _, uid := range users() {
			cmd, _ := rehearsal(t, uid, "--network", network, "--", "bash", "-c", dial)
			out, err := cmd.CombinedOutput()
			if got := strings.Contains(string(out), "reached-42"); got != want || !strings.Contains(string(out), "ended by itself") {
				t.Errorf("network %s, user %d: reached %v, want %v (%v)\n%s", network, uid, got, want, err, out)
			}
		}
	}
}
