package main

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// duration is a flag whose value is a duration within bounds.
type duration struct {
	d           *time.Duration
	least, most time.Duration
}

// newDuration returns a flag's value with its default.
func newDuration(d *time.Duration, def, least, most time.Duration) *duration {
	*d = def
	return &duration{d: d, least: least, most: most}
}

// String implements pflag.Value. The usage leaves a default of zero out.
func (f *duration) String() string {
	if f.d == nil || *f.d == 0 {
		return ""
	}
	return f.d.String()
}

// Set implements pflag.Value.
func (f *duration) Set(text string) (err error) {
	*f.d, err = parseDuration(text, f.least, f.most)
	return err
}

// Type implements pflag.Value.
func (*duration) Type() string { return "duration" }

var (
	bareNumber = regexp.MustCompile(`^\d+$`)
	// someDuration matches what time.ParseDuration reads, and durations of more than 292 years.
	someDuration = regexp.MustCompile(`^[-+]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*$`)
)

// parseDuration reads a duration within bounds. The error says what is wrong with the text and what
// to do; it does not repeat the text.
func parseDuration(text string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil && bareNumber.MatchString(text):
		return 0, fmt.Errorf("it has no unit: use %.20ss for seconds", text)
	case err != nil && !someDuration.MatchString(text):
		return 0, errors.New("it is no duration: use a number with its unit, as 30s, 10m or 1h30m")
	case text[0] == '-':
		return 0, errors.New("it is negative: use a positive duration, as 30s")
	case err != nil || d > most:
		return 0, fmt.Errorf("it is more than %s: use less", spoken(most))
	case d < least:
		return 0, fmt.Errorf("it is less than %s: use a positive duration, as 30s", spoken(least))
	}
	return d, nil
}
