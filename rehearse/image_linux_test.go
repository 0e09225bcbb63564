package rehearse

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// imageOf makes an image that has the server alone, built without a C library.
func imageOf(t *testing.T, user int) *Image {
	t.Helper()
	root := t.TempDir()
	text, err := os.ReadFile(server)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "server"), text, 0o755); err != nil {
		t.Fatal(err)
	}
	own(t, root)
	return &Image{Root: root, User: user, Group: user, Env: []string{"PATH=/bin:/"}}
}

// own gives an image's files to the root of images.
func own(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if owner, ok := ImageOwner(0); ok && err == nil {
			return os.Lchown(path, owner, owner)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestImage_ItsProgramIsRehearsedAsItsUser(t *testing.T) {
	for _, user := range []int{0, 65532, 1_000_650_000} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			where := freeAddress(t)
			r, err := rehearse(t, Config{
				Program: Container{Command: []string{"server", "good"}, Env: []string{"ADDRESS=" + where}, Image: imageOf(t, user)},
				Traffic: []Target{{URL: "http://" + where}}, Grace: 20 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			if fails, warns := codes(r); !r.OK() || len(warns) > 0 || !slices.Contains(r.Passed, CutOff) {
				t.Errorf("user %d: fails %v, warns %v\n%s", user, fails, warns, describe(r))
			}
		})
	}
}

// A command beside the program has the rights of the program, and no others.
func TestImage_CommandsBesideItsProgramRunAsThatOne(t *testing.T) {
	for _, user := range []int{0, 65532} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			image := imageOf(t, user)
			p, err := start(&Container{Command: []string{"/server", "good"}, Env: []string{"ADDRESS=127.0.0.1:0", "COLOR=blue"}, Image: image, Dir: "/there"}, false)
			if err != nil {
				t.Fatal(err)
			}
			defer p.kill(t.Context())
			for _, what := range []string{"rights", "files", "environment"} {
				program, err := p.exec([]string{"server", what})
				if err != nil {
					t.Fatal(err)
				}
				var out bytes.Buffer
				program.Stdout, program.Stderr = &out, &out
				if err := program.Run(); err != nil {
					t.Fatalf("%v: %s", err, out.String())
				}
				t.Logf("%s:\n%s", what, out.String())
			}
		})
	}
}
