package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lastcall-go/lastcall/rehearse"
)

// unpacked unpacks an image into a directory of the test.
func unpacked(t *testing.T, name string) *Image {
	t.Helper()
	im, err := Unpack(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := im.Close(); err != nil {
			t.Error(err)
		}
	})
	return im
}

// whole is an image with everything that an image can have.
var whole = packed{
	config: v1.ImageConfig{
		User: "web:staff", Env: []string{"COLOR=blue"}, Entrypoint: []string{"/server"}, Cmd: []string{"--port", "80"}, WorkingDir: "/data",
		StopSignal: "SIGQUIT", ExposedPorts: map[string]struct{}{"8080/tcp": {}, "80": {}, "53/udp": {}},
	},
	health: map[string]any{"Test": []string{"CMD-SHELL", "ask"}, "Timeout": int64(2 * time.Second)},
	layers: [][]tarred{
		{
			dir("etc/"), file("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:101:102::/home/web:/bin/sh\n"),
			file("etc/group", "staff:x:50:\nweb:x:102:\nmore:x:103:web,x\n"), file("server", "program"), dir("data/"), file("data/old", ""),
		},
		{dir("data/"), file("data/.wh.old", ""), file("data/new", "new")},
	},
}

func TestUnpack_ReadsEveryFormat(t *testing.T) {
	for name, write := range map[string]func(*testing.T) string{
		"docker save":               func(t *testing.T) string { return whole.write(t, true, nil) },
		"docker save, gzip":         func(t *testing.T) string { return whole.write(t, true, gzipped) },
		"docker save, zstd":         func(t *testing.T) string { return whole.write(t, true, zstandard) },
		"OCI directory":             func(t *testing.T) string { return whole.layout(t) },
		"OCI archive":               func(t *testing.T) string { return whole.write(t, false, nil) },
		"OCI archive, gzip":         func(t *testing.T) string { return whole.write(t, false, gzipped) },
		"docker save, gzip layers":  func(t *testing.T) string { p := whole; p.by = gzipped; return p.write(t, true, nil) },
		"OCI directory, zst layers": func(t *testing.T) string { p := whole; p.by = zstandard; return p.layout(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			im := unpacked(t, write(t))
			for name, want := range map[string]string{"server": "program", "data/new": "new"} {
				if b, err := os.ReadFile(filepath.Join(im.Root, name)); string(b) != want {
					t.Errorf("%s has %q (%v), want %q", name, b, err, want)
				}
			}
			if _, err := os.Lstat(filepath.Join(im.Root, "data/old")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what a layer takes away is there: %v", err)
			}
			if im.User != 101 || im.Group != 50 || im.Groups != nil || im.Dir != "/data" || im.StopSignal != syscall.SIGQUIT {
				t.Errorf("%+v", im)
			}
			if want := []string{"COLOR=blue", defaultPath, "HOME=/home/web", "HOSTNAME=rehearsal"}; !slices.Equal(im.Env, want) {
				t.Errorf("environment %q, want %q", im.Env, want)
			}
			if !slices.Equal(im.Ports, []int{80, 8080}) {
				t.Errorf("ports %v", im.Ports)
			}
			want := &rehearse.Probe{Exec: []string{"/bin/sh", "-c", "ask"}, Period: time.Second, Timeout: 2 * time.Second, FailureThreshold: 1000}
			if !reflect.DeepEqual(im.Healthcheck, want) {
				t.Errorf("healthcheck %+v", im.Healthcheck)
			}
			if c := im.Container(nil); !slices.Equal(c.Command, []string{"/server", "--port", "80"}) {
				t.Errorf("command %q", c.Command)
			}
			if c := im.Container([]string{"x"}); !slices.Equal(c.Command, []string{"x"}) {
				t.Errorf("command %q in its place", c.Command)
			}
		})
	}
}

func TestUnpack_OwnersAndPermissionsAreThoseOfTheImage(t *testing.T) {
	old := time.Unix(1e9, 0)
	program := file("bin/program", "x")
	program.Mode, program.Uid, program.Gid, program.ModTime = 0o6755, 7, 8, old
	closed := dir("closed/")
	closed.Mode, closed.Uid = 0o1777, 100_000
	im := unpacked(t, packed{layers: [][]tarred{{program, closed}}}.write(t, true, nil))
	info, err := os.Stat(filepath.Join(im.Root, "bin/program"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o755 || !info.ModTime().Equal(old) {
		t.Errorf("%v of %v, want no bits that give rights to others", info.Mode(), info.ModTime())
	}
	owner := func(name string) (int, int) {
		info, err := os.Lstat(filepath.Join(im.Root, name))
		if err != nil {
			t.Fatal(err)
		}
		s := info.Sys().(*syscall.Stat_t)
		return int(s.Uid), int(s.Gid)
	}
	of := func(id int) int {
		if owner, ok := rehearse.ImageOwner(id); ok {
			return owner
		}
		return os.Geteuid()
	}
	if u, g := owner("bin/program"); u != of(7) || g != of(8) {
		t.Errorf("owner %d:%d", u, g)
	}
	if u, _ := owner("bin"); u != of(0) {
		t.Errorf("what no entry is about belongs to %d", u)
	}
	if u, _ := owner("closed"); u != of(65534) {
		t.Errorf("what belongs to nobody in the image belongs to %d", u)
	}
	if info, err := os.Stat(filepath.Join(im.Root, "closed")); err != nil || info.Mode() != fs.ModeDir|fs.ModeSticky|0o777 {
		t.Errorf("%v (%v)", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Dir(im.Root)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may look into the image: %v (%v)", info.Mode(), err)
	}
}

func TestUser_IsFoundInTheImageItself(t *testing.T) {
	for _, c := range []struct {
		said     string
		uid, gid int
		groups   []int
		home     string
		fails    string
	}{
		{said: "", home: "/root"},
		{said: "web", uid: 101, gid: 102, groups: []int{103}, home: "/home/web"},
		{said: "101", uid: 101, gid: 102, groups: []int{103}, home: "/home/web"},
		{said: "web:50", uid: 101, gid: 50, home: "/home/web"},
		{said: "web:staff", uid: 101, gid: 50, home: "/home/web"},
		{said: "1000", uid: 1000, home: "/"},
		{said: "65532:65532", uid: 65532, gid: 65532, home: "/"},
		{said: "1000650000", uid: 1000650000, home: "/"},
		{said: "nobody", fails: "no such user"},
		{said: "web:nobody", fails: "no such group"},
		{said: "-1", fails: "no such user"},
		{said: "4294967295", fails: "no such user"},
	} {
		p := whole
		p.config.User = c.said
		im, err := Unpack(t.Context(), p.write(t, true, nil), nil)
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%q: %v, want %q", c.said, err, c.fails)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if im.User != c.uid || im.Group != c.gid || !slices.Equal(im.Groups, c.groups) || !slices.Contains(im.Env, "HOME="+c.home) {
			t.Errorf("%q: %d:%d, %v, %q", c.said, im.User, im.Group, im.Groups, im.Env)
		}
		if err := im.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Something that is no image, or a wrong one, is an error of one sentence, and leaves nothing
// behind.
func TestUnpack_WhatIsNoImageIsAnErrorThatSaysWhy(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	change := func(f func(*packed)) packed {
		p := whole
		f(&p)
		return p
	}
	truncated := whole.write(t, true, nil)
	if err := os.Truncate(truncated, 2000); err != nil {
		t.Fatal(err)
	}
	parts := whole.parts(t, true)
	pipe := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(pipe, "index.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	index := func(entries ...string) string {
		return put(t, tarOf(t, file("index.json", `{"manifests":[`+strings.Join(entries, ",")+`]}`)))
	}
	one := func(digit, name string) string {
		return fmt.Sprintf(`{"digest":"sha256:%s","platform":{"os":"linux","architecture":%q},"annotations":{"org.opencontainers.image.ref.name":%q}}`,
			strings.Repeat(digit, 64), runtime.GOARCH, name)
	}
	t.Chdir(t.TempDir())
	if err := os.Mkdir("app", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ file, want string }{
		"dir of that name":  {"app", "for an image of that name in a container engine, add its tag: app:latest"},
		"nothing there":     {filepath.Join(temporary, "none"), "no such file"},
		"empty":             {put(t, nil), "neither a file of docker save"},
		"text":              {put(t, []byte(strings.Repeat("FROM scratch\n", 100))), "neither a file of docker save"},
		"a device":          {"/dev/zero", "neither a file of docker save"},
		"another tar":       {put(t, tarOf(t, file("a", "b"))), "neither a file of docker save"},
		"an empty dir":      {t.TempDir(), "neither a file of docker save"},
		"xz":                {put(t, []byte("\xfd7zXZ\x00....")), "unpack it first"},
		"broken gzip":       {put(t, []byte("\x1f\x8bxxxxxxxxxxxxxxxxxxx")), "gzip"},
		"truncated":         {truncated, "damaged"},
		"a layer missing":   {put(t, tarOf(t, parts[1:]...)), "file does not exist"},
		"config missing":    {put(t, tarOf(t, slices.Concat(parts[:2], parts[3:])...)), "file does not exist"},
		"manifest no JSON":  {put(t, tarOf(t, file("manifest.json", "hello"))), "not as docker save writes it"},
		"two images":        {put(t, tarOf(t, file("manifest.json", `[{"RepoTags":["a:1"]},{"RepoTags":["b:2"]}]`))), "2 images (a:1, b:2): save one alone"},
		"no image":          {put(t, tarOf(t, file("manifest.json", `[]`))), "0 images"},
		"a pipe":            {pipe, "index.json is no file"},
		"two named images":  {index(one("1", "a:1"), one("2", "b:2")), "2 images (a:1, b:2): save one alone"},
		"one with two tags": {index(one("1", "a:1"), one("1", "b:2")), "blobs/sha256/1111"},
		"index of itself":   {put(t, tarOf(t, file("index.json", `{"manifests":[{"digest":"sha256:../../../../etc/passwd"}]}`))), "digest"},
		"another machine":   {change(func(p *packed) { p.arch = "vax" }).write(t, true, nil), "it is for vax, and this machine is"},
		"no platform":       {change(func(p *packed) { p.arch = "vax2" }).write(t, false, nil), "no image for linux/"},
		"stop signal":       {change(func(p *packed) { p.config.StopSignal = "SIGSOON" }).write(t, true, nil), "there is no signal"},
		"zero byte":         {change(func(p *packed) { p.config.Env = []string{"A=\x00"} }).write(t, true, nil), "zero byte"},
		"other layer":       {change(func(p *packed) { p.damage = spoil(v1.MediaTypeImageLayer) }).write(t, true, nil), "damaged"},
		"other config":      {change(func(p *packed) { p.damage = spoil(v1.MediaTypeImageConfig) }).write(t, false, nil), "checksum"},
		"huge manifest":     {put(t, tarOf(t, file("manifest.json", strings.Repeat(" ", maxText+1)))), "more than 4 MiB"},
		"more than a layer": {change(func(p *packed) { p.by = func(b []byte) []byte { return append(b, make([]byte, maxText+1)...) } }).write(t, true, nil), "follows its end"},
	} {
		im, err := Unpack(t.Context(), c.file, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err == nil {
			im.Close()
		}
	}
	left, err := filepath.Glob(filepath.Join(temporary, "lastcall-image-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%q are left (%v)", left, err)
	}
}

// spoil changes a byte of the files of a media type.
func spoil(media string) func(string, []byte) []byte {
	return func(kind string, b []byte) []byte {
		b = slices.Clone(b)
		if kind == media {
			b[len(b)/2] ^= 1
		}
		return b
	}
}

// What is zero in a file takes no place on the disk, and is zero still.
func TestUnpack_LeavesHolesForZeros(t *testing.T) {
	content := strings.Repeat("\x00", 1<<20) + "x" + strings.Repeat("\x00", 3<<20)
	im := unpacked(t, packed{layers: [][]tarred{{file("sparse", content), file("zeros", content[:5]), file("empty", "")}}, by: gzipped}.write(t, true, nil))
	for name, want := range map[string]string{"sparse": content, "zeros": content[:5], "empty": ""} {
		if b, err := os.ReadFile(filepath.Join(im.Root, name)); string(b) != want {
			t.Errorf("%s has %d other bytes than %d (%v)", name, len(b), len(want), err)
		}
	}
	var stat syscall.Stat_t
	if err := syscall.Stat(filepath.Join(im.Root, "sparse"), &stat); err != nil || stat.Blocks*512 > 1<<20 {
		t.Errorf("it takes %d bytes (%v)", stat.Blocks*512, err)
	}
}

// docker save saved equal layers once, and the others as links to it.
func TestUnpack_FollowsTheLinksOfOlderArchives(t *testing.T) {
	parts := whole.parts(t, true)
	for i, e := range parts[:2] {
		e.Name = "real" + e.Name
		parts = append(parts, e)
		parts[i] = symlink(parts[i].Name, "../../realblobs/sha256/"+filepath.Base(e.Name))
	}
	unpacked(t, put(t, tarOf(t, parts...)))
	loop := []tarred{symlink("manifest.json", "b"), symlink("b", "manifest.json")}
	if _, err := Unpack(t.Context(), put(t, tarOf(t, loop...)), nil); err == nil {
		t.Error("links in a circle are followed")
	}
}

func TestUnpack_EndsWithItsContext(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := Unpack(ctx, whole.write(t, true, nil), nil); !errors.Is(err, enough) {
		t.Errorf("%v, want the cause of the context", err)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
}
