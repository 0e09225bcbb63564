package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// kind returns an entry of some type, without content.
func kind(name string, flag byte) tarred {
	return tarred{Header: tar.Header{Name: name, Mode: 0o666, Typeflag: flag, Devmajor: 1, Devminor: 3}}
}

func TestUnpack_RefusesWhatLeadsOutOrIsTooMuch(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	huge := file("huge", "")
	huge.Size = 1 << 42
	for name, c := range map[string]struct {
		layer []tarred
		want  string
	}{
		"a name above":           {[]tarred{file("../evil", "x")}, "leads out"},
		"a name above, later":    {[]tarred{file("a/b/../../../evil", "x")}, "leads out"},
		"a directory above":      {[]tarred{dir("..")}, "leads out"},
		"a link above":           {[]tarred{symlink("a", "../evil")}, "leads out"},
		"a link above, deeper":   {[]tarred{symlink("a/b", "../../evil")}, "leads out"},
		"a name of another file": {[]tarred{hardlink("a", "../../etc/passwd")}, "leads out"},
		"of one that is not":     {[]tarred{hardlink("a", "etc/passwd")}, "no such file"},
		"of a directory":         {[]tarred{dir("d/"), hardlink("a", "d")}, "directory"},
		"a device":               {[]tarred{kind("null", tar.TypeChar)}, "device"},
		"a disk":                 {[]tarred{kind("disk", tar.TypeBlock)}, "device"},
		"a pipe":                 {[]tarred{kind("pipe", tar.TypeFifo)}, "named pipe"},
		"a kind of its own":      {[]tarred{kind("x", '9')}, "of the kind"},
		"the root as a file":     {[]tarred{file(".", "x")}, "root"},
		"the root as a link":     {[]tarred{symlink("./", "/etc")}, "root"},
		"huge":                   {[]tarred{huge}, "more than 16 GiB"},
		"links in a circle":      {[]tarred{symlink("a", "b"), symlink("b", "a"), file("a/x", "x")}, "too many links"},
		"through a file":         {[]tarred{file("a", "x"), file("a/b", "x")}, "no directory"},
		"a name for terminals":   {[]tarred{file("a\x1b[2J\n", "x"), file("a\x1b[2J\n/b", "x")}, "no directory"},
		"very deep":              {[]tarred{file(strings.Repeat("d/", 300)+"x", "x")}, "deep"},
		"a very long name":       {[]tarred{file(strings.Repeat("d/", 3000)+"x", "x")}, "6001 bytes"},
		"takes away the root":    {[]tarred{file("a/.wh...", "")}, "takes away no file"},
		"takes away itself":      {[]tarred{file("a/.wh..", "")}, "takes away no file"},
		"takes away nothing":     {[]tarred{file("a/.wh.", "")}, "takes away no file"},
	} {
		before := outside(t, temporary)
		im, err := Unpack(t.Context(), packed{layers: [][]tarred{c.layer}}.write(t, true, nil), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err == nil {
			im.Close()
		}
		if after := outside(t, temporary); !slices.Equal(before, after) {
			t.Errorf("%s: %q was %q", name, after, before)
		}
	}
}

// outside lists a directory in which nothing of an image may stay.
func outside(t testing.TB, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		all = append(all, fmt.Sprint(name, " ", info.Mode()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Links are followed as the program will follow them, and not as this machine does.
func TestUnpack_LinksEndInTheImage(t *testing.T) {
	victim := t.TempDir()
	if err := os.WriteFile(filepath.Join(victim, "file"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := outside(t, victim)
	im := unpacked(t, packed{layers: [][]tarred{
		{symlink("way", victim), symlink("etc", "/real"), symlink("target", filepath.Join(victim, "file")), symlink("up", "/../../..")},
		{
			file("way/file", "theirs"), file("way/.wh.other", ""), file("way/.wh..wh..opq", ""), file("etc/conf", "x"), file("target", "theirs"),
			hardlink("again", "way/file"), file("up/top", "x"), dir("way/sub/"),
		},
	}}.write(t, true, nil))
	if after := outside(t, victim); !slices.Equal(before, after) {
		t.Errorf("%q was %q", after, before)
	}
	if b, err := os.ReadFile(filepath.Join(victim, "file")); string(b) != "mine" {
		t.Errorf("a file outside has %q (%v)", b, err)
	}
	for name, want := range map[string]string{
		"real/conf": "x", "top": "x", "target": "theirs", victim[1:] + "/file": "theirs", "again": "theirs",
	} {
		if b, err := os.ReadFile(filepath.Join(im.Root, name)); string(b) != want {
			t.Errorf("%s has %q (%v), want %q", name, b, err, want)
		}
	}
}

func TestUnpack_LaterLayersTakeThePlaceOfEarlierOnes(t *testing.T) {
	im := unpacked(t, packed{layers: [][]tarred{
		{file("a/1", "1"), file("a/2", "2"), file("b", "b"), dir("c/"), file("c/x", "x"), symlink("d", "c"), file("e/1", "1"), file("f/1", "1")},
		{
			// Its own files stay, wherever the mark is.
			file("a/3", "3"), file("a/.wh..wh..opq", ""), file("a/4", "4"), file("a/.wh.4", ""),
			dir("b/"), file("b/1", "1"), file("c", "c"), dir("d/"), file("d/1", "1"), file(".wh.e", ""), file("f/.wh.1", ""), file(".wh..wh.aufs", ""),
		},
	}}.write(t, true, nil))
	var found []string
	err := filepath.WalkDir(im.Root, func(name string, e fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(im.Root, name); err == nil && rel != "." {
			found = append(found, strings.TrimSuffix(rel+" "+e.Type().String()[:1], " -"))
		}
		return err
	})
	if want := []string{"a d", "a/3", "a/4", "b d", "b/1", "c", "d d", "d/1", "f d"}; err != nil || !slices.Equal(found, want) {
		t.Errorf("found %q (%v), want %q", found, err, want)
	}
}

func TestUnpack_BoundsFilesAndBytes(t *testing.T) {
	apply := func(files int, bytes int64, entries ...tarred) error {
		root, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		tr := newTree(root)
		tr.files, tr.bytes = files, bytes
		for _, e := range entries {
			if err := tr.entry(&e.Header, strings.NewReader(e.content)); err != nil {
				return err
			}
		}
		return nil
	}
	// A directory that has no entry counts too.
	if err := apply(2, 10, file("a/b", "12345"), file("c", "12345")); err == nil || !strings.Contains(err.Error(), "files") {
		t.Errorf("3 files of 2: %v", err)
	}
	if err := apply(4, 9, file("a/b", "12345"), file("c", "12345")); err == nil || !strings.Contains(err.Error(), "GiB") {
		t.Errorf("10 bytes of 9: %v", err)
	}
	if err := apply(3, 10, file("a/b", "12345"), file("c", "12345")); err != nil {
		t.Error(err)
	}
	tr := newTree(nil)
	tr.names = 10
	if err := tr.remember("a/path/of/14"); err == nil || !strings.Contains(err.Error(), "MiB") {
		t.Errorf("12 bytes of 10: %v", err)
	}
	global := tarred{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}}
	if err := apply(1, 0, global, global); err == nil || !strings.Contains(err.Error(), "files") {
		t.Errorf("headers without a file: %v", err)
	}
	var many []tarred
	for n := range maxMembers + 1 {
		many = append(many, file(fmt.Sprint(n), ""))
	}
	if _, err := Unpack(t.Context(), put(t, tarOf(t, many...)), nil); err == nil || !strings.Contains(err.Error(), "more than 10000 files") {
		t.Errorf("an archive of many files: %v", err)
	}
}

func TestRemover_RemovesTheImageOfAProcessThatIsKilled(t *testing.T) {
	temporary := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "unpack", whole.write(t, true, nil))
	cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The child prints a byte when it has unpacked the image.
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) != 1 {
		t.Fatalf("the image is not there: %v (%v)", left, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left, err := os.ReadDir(temporary)
		if err == nil && len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v is left (%v)", left, err)
		}
	}
}

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "unpack" { // for the test that kills it
		if _, err := unpack(context.Background(), os.Args[2], nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("unpacked")
		select {}
	}
	os.Exit(m.Run())
}

// Directories that deny access to their owner are still removed.
func TestRemoveAll_RemovesWhatIsClosed(t *testing.T) {
	at := filepath.Join(t.TempDir(), "image")
	if err := os.MkdirAll(filepath.Join(at, "a/b/c"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a/b", "a"} {
		if err := os.Chmod(filepath.Join(at, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeAll(at); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(at); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there still: %v", err)
	}
}

// inMemory returns a directory that is not on a disk, if there is one: files come and go by
// thousands.
func inMemory(t testing.TB) string {
	t.Helper()
	const memory = "/dev/shm"
	if _, err := os.Stat(memory); err != nil {
		return t.TempDir()
	}
	at, err := os.MkdirTemp(memory, "lastcall-image-") //nolint:usetesting // not where testing makes them
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := removeAll(at); err != nil {
			t.Error(err)
		}
	})
	return at
}

// FuzzUnpack_ALayerStaysInItsDirectory unpacks any layer, twice, above a layer whose links lead
// everywhere. Nothing outside changes, and it ends.
func FuzzUnpack_ALayerStaysInItsDirectory(f *testing.F) {
	for _, layer := range [][]tarred{
		{file("a", "x"), dir("d/"), symlink("s", "/d"), hardlink("h", "a"), file("d/.wh.x", ""), file("d/.wh..wh..opq", "")},
		{file("out/evil", "x"), file("out/.wh.file", ""), hardlink("h", "out/file"), symlink("out", "..")},
		{file("../evil", "x"), symlink("up/evil", "../../x"), kind("dev", tar.TypeChar)},
	} {
		f.Add(tarOf(f, layer...))
	}
	above := inMemory(f)
	if err := os.WriteFile(filepath.Join(above, "file"), []byte("mine"), 0o600); err != nil {
		f.Fatal(err)
	}
	before := outside(f, above)
	f.Fuzz(func(t *testing.T, layer []byte) {
		at := filepath.Join(above, "root")
		if err := os.Mkdir(at, 0o755); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := removeAll(at); err != nil {
				t.Error(err)
			}
			if after := outside(t, above); !slices.Equal(before, after) {
				t.Errorf("%q was %q", after, before)
			}
			if b, err := os.ReadFile(filepath.Join(above, "file")); string(b) != "mine" {
				t.Errorf("a file outside has %q (%v)", b, err)
			}
		}()
		root, err := os.OpenRoot(at)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		tr := newTree(root)
		tr.files, tr.bytes = 1000, 1<<20
		for _, e := range []tarred{symlink("out", above), symlink("up", "/.."), dir("d"), file("d/file", "x")} {
			if err := tr.entry(&e.Header, strings.NewReader(e.content)); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			clear(tr.fresh)
			tr.forget()
			entries := tar.NewReader(bytes.NewReader(layer))
			for {
				h, err := entries.Next()
				if err != nil || tr.entry(h, entries) != nil {
					break
				}
			}
		}
	})
}

// FuzzUnpack_ReadsAnyArchive reads any archive: the result is an image or an error.
func FuzzUnpack_ReadsAnyArchive(f *testing.F) {
	f.Add(tarOf(f, whole.parts(f, true)...))
	f.Add(tarOf(f, whole.parts(f, false)...))
	f.Add(gzipped(tarOf(f, whole.parts(f, true)...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		at := inMemory(t)
		name := filepath.Join(at, "image")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		im := &Image{Root: filepath.Join(at, "root")}
		err := im.fill(t.Context(), name, nil, at)
		if err == nil && (im.User < 0 || im.Group < 0) {
			t.Errorf("%+v", im)
		}
	})
}
