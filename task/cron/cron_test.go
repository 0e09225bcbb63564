package cron_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/cron"
)

func parse(t *testing.T, expr, zone string) cron.Schedule {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	s, err := cron.Parse(expr, &cron.Options{Zone: loc, Seconds: len(strings.Fields(expr)) == 6})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The ticks are in UTC.
func TestNext_SummerTime(t *testing.T) {
	for _, c := range []struct {
		what, expr, zone, from string
		want                   []string
	}{
		{"a time that does not exist is due at the change", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		{"several that do not exist are due once", "0,15,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}},
		{"the first that exists again is due when it is shown", "0 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"}},
		{"a time that exists twice is due once", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
			[]string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		{"also from between the two", "30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z",
			[]string{"2026-10-26T01:30:00Z"}},
		{"an interval goes on in the hour that is there twice", "*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z",
			[]string{"2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"}},
		{"an interval does not see the hour that is left out", "0 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z",
			[]string{"2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"}},
		// Lord Howe Island moves its clocks by half an hour: 02:00 becomes 02:30 on 2026-10-04, and 02:00
		// becomes 01:30 on 2026-04-05.
		{"half an hour that does not exist", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z",
			[]string{"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
		{"half an hour that exists twice", "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z",
			[]string{"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"}},
		{"a zone without summer time", "30 2 * * *", "Asia/Kolkata", "2026-03-28T12:00:00Z",
			[]string{"2026-03-28T21:00:00Z", "2026-03-29T21:00:00Z"}},
		{"midnight that does not exist", "@daily", "America/Santiago", "2026-09-05T12:00:00Z",
			[]string{"2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := parse(t, c.expr, c.zone)
			at, err := time.Parse(time.RFC3339, c.from)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if at = s.Next(at); at.UTC().Format(time.RFC3339) != want {
					t.Fatalf("due at %s, want %s", at.UTC().Format(time.RFC3339), want)
				}
			}
		})
	}
}

func TestNext_OfAnInterval(t *testing.T) {
	s := parse(t, "@every 90s", "UTC")
	from := time.Date(2026, 1, 1, 0, 0, 7, 500, time.UTC)
	if got := s.Next(from); !got.Equal(time.Date(2026, 1, 1, 0, 1, 37, 0, time.UTC)) {
		t.Error(got)
	}
	if s = parse(t, "*/10 * * * * *", "UTC"); !s.Next(from).Equal(from.Truncate(time.Second).Add(3 * time.Second)) {
		t.Error(s.Next(from))
	}
}

func TestParse_RefusesWhatIsNeverDueOrNotSaid(t *testing.T) {
	for expr, says := range map[string]string{
		"0 0 30 2 *":                 "never due",
		"* * * *":                    "expected exactly 5 fields",
		"0 0 3 * * *":                "expected exactly 5 fields",
		"61 * * * *":                 "above maximum",
		"CRON_TZ=Europe/Berlin":      "leave it out",
		"TZ=Europe/Berlin 0 3 * * *": "leave it out",
		"@every 1500ms":              "whole seconds",
		"@every soon":                "invalid duration",
		"@sometimes":                 "unrecognized descriptor",
		"":                           "empty",
	} {
		if _, err := cron.Parse(expr, nil); !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q in it", expr, err, says)
		}
	}
	if _, err := cron.Parse("0 3 * * *", &cron.Options{Zone: time.Local}); err == nil {
		t.Error("the machine's zone was accepted")
	}
}

func TestSchedule_IsDescribedInWords(t *testing.T) {
	for expr, want := range map[string]string{
		"0 3 * * *":          "at 03:00 every day, UTC",
		"0,30 3,4 * * *":     "at 03:00, 03:30, 04:00 and 04:30 every day, UTC",
		"*/15 * * * *":       "every 15 minutes, UTC",
		"* * * * *":          "every minute, UTC",
		"5 * * * *":          "at minute 5 of every hour, UTC",
		"5 */2 * * *":        "at minute 5 every 2 hours, UTC",
		"0 9-17 * * mon-fri": "at minute 0 in hours 9-17 on Monday to Friday, UTC",
		"0 9 * * 1-5":        "at 09:00 on Monday to Friday, UTC",
		"0 0 1 * *":          "at 00:00 on day 1 of the month, UTC",
		"0 0 1 1 *":          "at 00:00 on day 1 in January, UTC",
		"0 0 13 * 5":         "at 00:00 on Friday and on day 13 of the month, UTC",
		"@weekly":            "at 00:00 on Sunday, UTC",
		"@hourly":            "at minute 0 of every hour, UTC",
		"@every 1m":          "every minute",
		"@every 90s":         "every 90 seconds",
		"30 0 3 * * *":       "at 03:00:30 every day, UTC",
		"*/10 * * * * *":     "every 10 seconds, UTC",
	} {
		s := parse(t, expr, "UTC")
		if s.Words() != want {
			t.Errorf("%q is %q, want %q", expr, s.Words(), want)
		}
	}
	if s := parse(t, "0 3 * * *", "Europe/Berlin"); s.Words() != "at 03:00 every day, Europe/Berlin" || s.String() != "0 3 * * * in Europe/Berlin" {
		t.Errorf("%q, %q", s.Words(), s.String())
	}
}

func FuzzParse_MakesTimesThatGrow(f *testing.F) {
	for _, s := range []string{"0 3 * * *", "@every 1s", "*/0 * * * *", "1-2-3 * * * *", "? ? ? ? ?", "@daily", "0 0 29 2 *"} {
		f.Add(s)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		s, err := cron.Parse(expr, &cron.Options{Zone: berlin})
		if err != nil {
			return
		}
		at := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC)
		for range 5 {
			next := s.Next(at)
			if next.IsZero() {
				return
			}
			if !next.After(at) {
				t.Fatalf("%q: %v comes after %v", expr, next, at)
			}
			at = next
		}
	})
}
