package main

import (
	"strings"
	"testing"
	"time"
)

func TestDuration_ThatCannotBeIsToldApartFromOneThatIsNone(t *testing.T) {
	for text, want := range map[string]string{
		"30":                    "it has no unit: use 30s for seconds",
		"":                      "it is no duration",
		"soon":                  "it is no duration",
		"1e9s":                  "it is no duration",
		"-3s":                   "it is negative",
		"-99999999999h":         "it is negative",
		"0s":                    "it is less than 100ms",
		"1ns":                   "it is less than 100ms",
		"169h":                  "it is more than 7 days: use less",
		"9999999h":              "it is more than 7 days: use less",
		"99999999999999999999s": "it is more than 7 days: use less",
		"1h99999999999h":        "it is more than 7 days: use less",
	} {
		if d, err := parseDuration(text, 100*time.Millisecond, maxGrace); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %q", text, d, err, want)
		}
	}
	for text, want := range map[string]time.Duration{"100ms": 100 * time.Millisecond, "+1.5h": 90 * time.Minute, "1h30m": 90 * time.Minute, "168h": maxGrace} {
		if d, err := parseDuration(text, 100*time.Millisecond, maxGrace); err != nil || d != want {
			t.Errorf("%q: %v, %v", text, d, err)
		}
	}
}

func FuzzDuration_IsReadWithinItsBoundsOrRefused(f *testing.F) {
	for _, text := range []string{"30s", "-1h", "9999999h", ".s", "1.h", "1e3", "٣s", "30", "2562047h47m16.854775807s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDuration(text, time.Second, time.Hour)
		if err == nil && (d < time.Second || d > time.Hour) {
			t.Errorf("%q: %v", text, d)
		}
		plain, refused := time.ParseDuration(text)
		if refused == nil && plain >= time.Second && plain <= time.Hour && err != nil {
			t.Errorf("%q is %v and was refused: %v", text, plain, err)
		}
	})
}
