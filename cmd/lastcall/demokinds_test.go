package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestDemoKinds_AreForThisMachineAloneUnlessADirectoryBoundsThem(t *testing.T) {
	dir := t.TempDir()
	demo := filepath.Join(dir, "demo")
	if err := os.Mkdir(demo, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const unbounded = "bound them with --demo-dir DIR"
	store := "sqlite:" + filepath.Join(dir, "tasks.db")
	for _, c := range []struct {
		config config
		want   string
	}{
		{config{}, ""},
		{config{DemoKinds: true}, ""},
		{config{DemoKinds: true, Listen: "[::1]:0"}, ""},
		{config{TokenFile: file}, ""},
		{config{DemoKinds: true, TokenFile: file}, unbounded},
		{config{DemoKinds: true, TokenFile: file, Listen: "127.0.0.1:0"}, unbounded},
		{config{DemoKinds: true, TokenFile: file, Listen: "0.0.0.0:0"}, unbounded},
		{config{DemoKinds: true, TokenFile: file, DemoDir: demo}, ""},
		{config{DemoKinds: true, TokenFile: file, Listen: "0.0.0.0:0", DemoDir: demo}, ""},
		{config{DemoKinds: true, DemoDir: demo}, ""},
		{config{DemoDir: demo}, "which are off"},
		{config{DemoKinds: true, DemoDir: filepath.Join(dir, "none")}, "no such file or directory: make it"},
		{config{DemoKinds: true, DemoDir: file}, "is not a directory"},
		{config{DemoKinds: true, DemoDir: dir}, "tasks.db is in " + dir},
		{config{DemoKinds: true, DemoDir: filepath.Join(dir, "link")}, "tasks.db is in " + filepath.Join(dir, "link")},
		{config{DemoKinds: true, DemoDir: demo, TokenFile: filepath.Join(demo, "tokens")}, "tokens is in " + demo},
		{config{DemoKinds: true, DemoDir: demo, storeFile: filepath.Join(dir, "link", "demo", "store")}, "store is in " + demo},
	} {
		c.config.Store = store
		err := c.config.complete()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.config, err, c.want)
		}
	}
}

func TestDemoKinds_ARelativeDirectoryStartsAtTheFilesDirectory(t *testing.T) {
	path := writeConfig(t, "version: 1\nstore: sqlite:tasks.db\ndemoKinds: true\ndemoDir: demo\n")
	c, err := readConfig(path)
	if want := filepath.Join(filepath.Dir(path), "demo"); err != nil || c.DemoDir != want {
		t.Errorf("%q, %v; want %q", c.DemoDir, err, want)
	}
}

// What is shipped is for others too: nothing in it offers kinds that do whatever a payload says.
func TestDemoKinds_AreInNothingThatIsShipped(t *testing.T) {
	seen := 0
	for _, pattern := range []string{"*.yaml", "../../deploy/*/*", "../../deploy/*/*/*", "../../deploy/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if info, err := os.Stat(file); err != nil || info.IsDir() {
				continue
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), "--demo-kinds") {
				t.Errorf("%s has --demo-kinds", file)
			}
			var found map[string]any
			if filepath.Ext(file) != ".yaml" || yaml.Unmarshal(b, &found) != nil || fmt.Sprint(found["version"]) != "1" {
				continue
			}
			seen++
			if on, there := found["demoKinds"]; there {
				t.Errorf("%s has demoKinds: %v", file, on)
			}
		}
	}
	if seen < 3 {
		t.Errorf("%d configurations were looked at: the example and those of two manifests are shipped", seen)
	}
}
