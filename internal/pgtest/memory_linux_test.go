package pgtest

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestMemory_OnlyWhatAKilledProcessHasLeftIsRemoved(t *testing.T) {
	dir := t.TempDir()
	create := func(name string, age time.Duration) string {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		created := time.Now().Add(-age)
		if err := os.Chtimes(path, created, created); err != nil {
			t.Fatal(err)
		}
		return path
	}
	left, locked := create(memoryPrefix+"left", time.Hour), create(memoryPrefix+"locked", time.Hour)
	young, another := create(memoryPrefix+"young", 0), create("another", time.Hour)
	lock, err := lockDir(locked)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	clearMemory(dir)
	for path, kept := range map[string]bool{left: false, locked: true, young: true, another: true} {
		if _, err := os.Stat(path); (err == nil) != kept {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
}
