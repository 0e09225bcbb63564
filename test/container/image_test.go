package container

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// repository is the root of the repository, seen from this package's tests.
const repository = "../.."

// image is the content of a Containerfile, as far as ours uses it.
type image struct {
	builder    string   // the default of ARG BUILDER
	build      []string // RUN instructions of the first stage
	env        []string // ENV instructions of the first stage, name=value
	from       string   // the base of the last stage
	copied     string   // the directory of the first stage that the last stage copies to /
	user, stop string
	entry, cmd []string
}

// readContainerfile reads the instructions that ours needs, and fails for every other one:
// otherwise the tests would run a different image than the file describes.
func readContainerfile(t *testing.T, path string) image {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var im image
	stages := 0
	for i, line := range strings.Split(string(content), "\n") {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case word == "" || strings.HasPrefix(word, "#"):
		case stages == 0 && word == "ARG" && strings.HasPrefix(rest, "BUILDER="):
			im.builder = strings.TrimPrefix(rest, "BUILDER=")
		case stages == 0 && line == "FROM ${BUILDER} AS build", stages == 1 && word == "FROM":
			stages++
			im.from = rest
		case stages == 1 && word == "ENV":
			im.env = append(im.env, rest)
		case stages == 1 && word == "RUN" && !strings.HasSuffix(rest, "\\"):
			im.build = append(im.build, rest)
		// The test runs the instructions in the repository.
		case stages == 1 && (line == "WORKDIR /src" || line == "COPY . ."):
		case stages == 2 && word == "COPY":
			if n, err := fmt.Sscanf(rest, "--from=build %s /", &im.copied); n != 1 || err != nil {
				t.Fatalf("%s:%d: %q is not understood: %v", path, i+1, line, err)
			}
		case stages == 2 && word == "USER":
			im.user = rest
		case stages == 2 && word == "STOPSIGNAL":
			im.stop = rest
		case stages == 2 && word == "ENTRYPOINT":
			im.entry = list(t, rest)
		case stages == 2 && word == "CMD":
			im.cmd = list(t, rest)
		default:
			t.Fatalf("%s:%d: these tests do not know how to do %q", path, i+1, line)
		}
	}
	return im
}

// list parses an argument list. The shell form is refused: the image has no shell.
func list(t *testing.T, text string) (all []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("%s: write it as a list: %v", text, err)
	}
	return all
}

// programRoot is the root of the image of the program, which the tests only read. It is made once.
var programRoot struct {
	once sync.Once
	dir  string // removed by TestMain
	made bool
}

// makeProgram returns the root of the image of the program.
func makeProgram(t *testing.T) string {
	t.Helper()
	skipUnlessRoot(t)
	programRoot.once.Do(func() {
		var err error
		//nolint:usetesting // it outlives this test
		if programRoot.dir, err = os.MkdirTemp("", "lastcall-image-"); err != nil {
			t.Fatal(err)
		}
		readContainerfile(t, containerfile).makeIn(t, programRoot.dir)
		programRoot.made = true
	})
	if !programRoot.made {
		t.Fatal("the image could not be made: an earlier test says why")
	}
	return programRoot.dir
}

func skipUnlessRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the image has files of another user: run as root")
	}
}

// make runs the instructions of the first stage with another directory for $OUT. That becomes the
// root of the image.
func (im image) make(t *testing.T) string {
	t.Helper()
	skipUnlessRoot(t)
	out := t.TempDir()
	im.makeIn(t, out)
	return out
}

func (im image) makeIn(t *testing.T, out string) {
	t.Helper()
	if len(im.env) != 1 || im.env[0] != "OUT="+strings.TrimSuffix(im.copied, "/") {
		t.Fatalf("the image copies %s, and ENV is %q: want OUT, and that alone", im.copied, im.env)
	}
	for _, run := range im.build {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", run)
		cmd.Dir, cmd.Env = repository, append(os.Environ(), "OUT="+out)
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("RUN %s: %v\n%s", run, err, said)
		}
	}
}

// helperRoot creates the root of an image that contains only the helper.
func helperRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(root, "helper"), "./testdata/helper")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build ./testdata/helper: %v\n%s", err, out)
	}
	return root
}

// blob is an object of an OCI layout.
type blob struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`

	Annotations map[string]string `json:"annotations,omitempty"`

	content []byte
}

func newBlob(kind string, content []byte) blob {
	sum := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	return blob{MediaType: "application/vnd.oci.image." + kind, Digest: sum, Size: len(content), content: content}
}

func jsonBlob(t *testing.T, kind string, content any) blob {
	t.Helper()
	return newBlob(kind, marshal(t, content))
}

func marshal(t *testing.T, content any) []byte {
	t.Helper()
	b, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pack writes an image with one layer as an archive in the OCI layout, and returns the archive's
// name.
func (im image) pack(t *testing.T, root, name string) string {
	t.Helper()
	layer := newBlob("layer.v1.tar", tarOf(t, root))
	config := jsonBlob(t, "config.v1+json", map[string]any{
		"architecture": goarch(t), "os": "linux",
		"config": map[string]any{"User": im.user, "Entrypoint": im.entry, "Cmd": im.cmd, "StopSignal": im.stop},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layer.Digest}},
	})
	manifest := jsonBlob(t, "manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": config, "layers": []blob{layer},
	})
	manifest.Annotations = map[string]string{"io.containerd.image.name": name}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	add := func(name string, content []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	add("oci-layout", []byte(`{"imageLayoutVersion": "1.0.0"}`))
	add("index.json", marshal(t, map[string]any{"schemaVersion": 2, "manifests": []blob{manifest}}))
	for _, b := range []blob{layer, config, manifest} {
		add("blobs/"+strings.Replace(b.Digest, ":", "/", 1), b.content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tarOf archives a directory with its owners and modes.
func tarOf(t *testing.T, root string) []byte {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		h, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		if h.Name, err = filepath.Rel(root, path); err != nil {
			return err
		}
		if err := w.WriteHeader(h); err != nil || info.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err := firstOf(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func goarch(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "go", "env", "GOARCH").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
