package demo

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := root.Close(); err != nil {
			t.Error(err)
		}
	})
	return root
}

// keys walks a tree from behind a path.
func keys(t *testing.T, root, after string) []string {
	t.Helper()
	var all []string
	tr := &tree{root: openRoot(t, root), skip: func(string) bool { return false }}
	err := tr.walk(t.Context(), after, func(e entry) error { all = append(all, e.key()); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWalk_GoesInTheOrderOfBytesAndCanGoOnBehindAnyPath(t *testing.T) {
	root := plant(t)
	all := keys(t, root, "")
	if !slices.IsSorted(all) || len(all) != 19 {
		t.Errorf("%d entries: %q", len(all), all)
	}
	for i, key := range all {
		if got := keys(t, root, key); !slices.Equal(got, all[i+1:]) {
			t.Errorf("behind %q: %q, want %q", key, got, all[i+1:])
		}
	}
	// A path that has vanished since.
	for _, gone := range []string{"a/bb", "a/c/d/zz", "b", "\x01", "zzz"} {
		i, _ := slices.BinarySearch(all, gone)
		if got := keys(t, root, gone); !slices.Equal(got, all[i:]) {
			t.Errorf("behind %q: %q, want %q", gone, got, all[i:])
		}
	}
}

func TestWalk_OfWhatDoesNotExistIsAnError(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	tr := &tree{root: openRoot(t, dir)}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := tr.walk(t.Context(), "", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestHashTree_WritesWhatSha256sumPrints(t *testing.T) {
	dir := plant(t)
	script := `find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum --`
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = dir
	want, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	if got := result(t, job{add: hashEntry}, dir); !bytes.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestGzipTree_WritesAnArchiveOfEveryEntry(t *testing.T) {
	dir := plant(t)
	gz, err := gzip.NewReader(bytes.NewReader(result(t, job{add: newArchiver().add, finish: archiveEnd}, dir)))
	if err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(gz)
	var names []string
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		path := filepath.Join(dir, h.Name)
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if h.FileInfo().Mode().Type() != info.Mode().Type() || h.FileInfo().Mode().Perm() != info.Mode().Perm() || h.ModTime.Unix() != info.ModTime().Unix() {
			t.Errorf("%q: %v %v, want %v %v", h.Name, h.FileInfo().Mode(), h.ModTime, info.Mode(), info.ModTime())
		}
		if info.Mode().IsRegular() {
			got, err := io.ReadAll(tr)
			if err != nil || !bytes.Equal(got, read(t, path)) {
				t.Errorf("%q: %d bytes, %v", h.Name, len(got), err)
			}
		}
		if link, err := os.Readlink(path); err == nil && link != h.Linkname {
			t.Errorf("%q points at %q, want %q", h.Name, h.Linkname, link)
		}
	}
	if want := keys(t, dir, ""); !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	if _, err := io.Copy(io.Discard, gz); err != nil {
		t.Errorf("after the archive's end: %v", err)
	}
}
