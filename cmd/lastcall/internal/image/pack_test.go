package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// packed is an image that a test packs.
type packed struct {
	config v1.ImageConfig
	health map[string]any
	layers [][]tarred
	by     func([]byte) []byte // compresses the layers; nil if they are not compressed
	arch   string              // empty for that of this machine
	damage func(name string, content []byte) []byte
}

// tarred is an entry of a tar.
type tarred struct {
	tar.Header
	content string
}

func file(name, content string) tarred {
	return tarred{tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(content))}, content}
}

func dir(name string) tarred {
	return tarred{Header: tar.Header{Name: name, Mode: 0o755, Typeflag: tar.TypeDir}}
}

func symlink(name, to string) tarred {
	return tarred{Header: tar.Header{Name: name, Linkname: to, Mode: 0o777, Typeflag: tar.TypeSymlink}}
}

func hardlink(name, to string) tarred {
	return tarred{Header: tar.Header{Name: name, Linkname: to, Mode: 0o644, Typeflag: tar.TypeLink}}
}

// tarOf packs entries as they are: tar.Writer accepts most of what it should not.
func tarOf(t testing.TB, entries ...tarred) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.Close() // some tests want an entry that is shorter than its header says
	return b.Bytes()
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func zstandard(b []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	return w.EncodeAll(b, nil)
}

// parts returns the files of the image: the configuration and the layers, with their list as docker
// save writes it (docker), or as an OCI layout has it.
func (p packed) parts(t testing.TB, docker bool) []tarred {
	t.Helper()
	arch := p.arch
	if arch == "" {
		arch = runtime.GOARCH
	}
	var all []tarred
	put := func(media string, content []byte) v1.Descriptor {
		d := v1.Descriptor{MediaType: media, Digest: digest.FromBytes(content), Size: int64(len(content))}
		name := "blobs/sha256/" + d.Digest.Encoded()
		if p.damage != nil {
			content = p.damage(media, content)
		}
		all = append(all, file(name, string(content)))
		return d
	}
	object := func(value any) []byte {
		b, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var layers []v1.Descriptor
	var names []string
	ids := []digest.Digest{}
	for _, entries := range p.layers {
		content := tarOf(t, entries...)
		ids = append(ids, digest.FromBytes(content))
		if p.by != nil {
			content = p.by(content)
		}
		layers = append(layers, put(v1.MediaTypeImageLayer, content))
		names = append(names, "blobs/sha256/"+layers[len(layers)-1].Digest.Encoded())
	}
	config := map[string]any{}
	if err := json.Unmarshal(object(p.config), &config); err != nil {
		t.Fatal(err)
	}
	if p.health != nil {
		config["Healthcheck"] = p.health
	}
	c := put(v1.MediaTypeImageConfig, object(map[string]any{"architecture": arch, "os": "linux", "config": config,
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids}}))
	if docker {
		list := []map[string]any{{"Config": "blobs/sha256/" + c.Digest.Encoded(), "RepoTags": []string{"test:1"}, "Layers": names}}
		return append(all, file("manifest.json", string(object(list))))
	}
	m := put(v1.MediaTypeImageManifest, object(v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: c, Layers: layers}))
	m.Platform = &v1.Platform{OS: "linux", Architecture: arch}
	other, about := m, m
	other.Platform = &v1.Platform{OS: "linux", Architecture: "vax"}
	about.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
	other.Digest, about.Digest = digest.FromString("other"), digest.FromString("about")
	list := put(v1.MediaTypeImageIndex, object(v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{other, about, m}}))
	return append(all, file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`),
		file("index.json", string(object(v1.Index{Manifests: []v1.Descriptor{list}}))))
}

// write writes the image to a file, as docker save does or as an OCI layout, and compressed.
func (p packed) write(t testing.TB, docker bool, by func([]byte) []byte) string {
	t.Helper()
	b := tarOf(t, p.parts(t, docker)...)
	if by != nil {
		b = by(b)
	}
	return put(t, b)
}

func put(t testing.TB, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// layout writes the image as a directory.
func (p packed) layout(t testing.TB) string {
	t.Helper()
	at := t.TempDir()
	for _, e := range p.parts(t, false) {
		name := filepath.Join(at, e.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(e.content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return at
}
