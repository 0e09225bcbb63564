package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/demo"
)

// However fast the machine is, the stop interrupts something.
func TestDemo_HasWorkForFourTimesTheTimeUntilItsStop(t *testing.T) {
	d := smallDemo(t)
	d.stopAfter, d.atLeast, d.concurrency = 5*time.Second, 0, 3
	big := filepath.Join(d.tree, "a", "big")
	if err := os.WriteFile(big, bytes.Repeat([]byte("x"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.complete(); err != nil {
		t.Fatal(err)
	}
	tasks, err := d.newTasks()
	if err != nil {
		t.Fatal(err)
	}
	var total, rate int64
	for _, one := range tasks {
		var a demo.Args
		if err := json.Unmarshal(one.Payload, &a); err != nil {
			t.Fatal(err)
		}
		size, err := sizeOf(a.Dir)
		if err != nil {
			t.Fatal(err)
		}
		total += size
		rate = a.BytesPerSecond
	}
	takes := time.Duration(float64(total) / float64(rate) / 3 * float64(time.Second))
	if takes < 20*time.Second || takes > 21*time.Second {
		t.Errorf("three slots take %v for %d bytes at %d a second each, want 20 s", takes, total, rate)
	}
}

func TestDemo_MakesFilesWhereThereIsNoSourceOfGo(t *testing.T) {
	dir := t.TempDir()
	if err := makeFiles(dir); err != nil {
		t.Fatal(err)
	}
	first, err := sizeOf(dir)
	if want := int64(madeDirs * madeFiles * madeSize); err != nil || first < want || first > want+want/10 {
		t.Errorf("%d bytes, %v, want about %d", first, err, want)
	}
	one := filepath.Join(dir, "part1", "1.txt")
	before, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	// As if the process was killed while it wrote the file.
	if err := os.Truncate(one, 10); err != nil {
		t.Fatal(err)
	}
	if err := makeFiles(dir); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(one); err != nil || !bytes.Equal(before, after) {
		t.Errorf("it was not made again: %d bytes, %v", len(after), err)
	}
}
