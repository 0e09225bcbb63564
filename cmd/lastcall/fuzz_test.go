package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

// Any configuration file is either refused with a readable error, or has all that serve needs.
func FuzzConfig_AConfigurationIsReadOrRefusedInWords(f *testing.F) {
	f.Add("version: 1\nkinds:\n  a: {exec: [/bin/true], timeout: 1h, retry: {maxAttempts: -1, permanentExitCodes: [64]}}\n")
	f.Add("version: 1\ngrace: 99999999999h\nlisten: \":99999\"\nconcurrency: 1e9\n")
	f.Add("version: 1\nstroe: x\n---\nversion: 1\n")
	f.Add("a: &a [*a]\n")
	f.Add("kinds: {a: {exec: [\"\\0\"], env: {set: {\"=\": \"\\0\"}}}}\n\t")
	f.Add("version: 1\nkinds: {\"\": {}, ? [x] : y}\n")
	f.Add("<<: {version: 1}\nlogFormat: xml")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		var c config
		faults := c.decode(filepath.Join(dir, "lastcall.yaml"), []byte(text))
		if len(faults) == 0 {
			c.programs, faults = programs(c.Kinds, filepath.Join(dir, "lastcall.yaml"))
			faults = append(faults, c.faults()...)
		}
		if found := c.file.located(faults); len(found) != len(faults) {
			t.Errorf("%q: %d problems of %d are told", text, len(found), len(faults))
		}
		for _, one := range faults {
			if strings.TrimSpace(one.text) == "" || one.line > strings.Count(text, "\n")+strings.Count(text, "\r")+strings.Count(text, "\u0085")+strings.Count(text, "\u2028")+strings.Count(text, "\u2029")+2 {
				t.Errorf("%q: %+v", text, one)
			}
		}
		if len(faults) > 0 {
			return
		}
		if c.Grace < 0 || c.Grace > maxGrace || c.Concurrency < 0 || c.Concurrency > maxCount {
			t.Errorf("%q: %+v", text, c)
		}
		for _, k := range c.programs {
			if k.Name == "" || len(k.Argv) == 0 || !filepath.IsAbs(k.Path) || !filepath.IsAbs(k.Dir) || k.Timeout < 0 || k.KillAfter <= 0 || k.Backoff <= 0 {
				t.Errorf("%q: %+v", text, k)
			}
		}
	})
}

func FuzzSubmitMany_ALineOfManyTasksIsReadOrRefused(f *testing.F) {
	f.Add(`{"kind": "k", "payload": {"a": 1}, "id": "0197c0de-0000-7000-8000-000000000000", "queue": "q", "key": "K", "priority": -1, "delay": "90s"}`)
	f.Add(`{"kind": "k", "payload": 1, "delay": "-1s"}`)
	f.Add(`{"kind": "k", "payload": 1} {}`)
	f.Add(`{"kind": "k"}`)
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, line string) {
		n, err := new(many).parse([]byte(line))
		if err != nil {
			return
		}
		if n.Kind == "" || n.ID == "" || n.Queue == "" || len(n.Payload) == 0 || len(n.Payload) > task.MaxPayload || n.Delay < 0 || n.Delay > maxDelay {
			t.Errorf("%q: %+v", line, n)
		}
	})
}
