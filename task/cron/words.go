package cron

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// describe returns an expression in words. A field that has no short words stays as it is: "at
// minutes 0-30/7".
func describe(expr string, seconds bool) string {
	switch expr {
	case "@yearly", "@annually":
		expr = "0 0 1 1 *"
	case "@monthly":
		expr = "0 0 1 * *"
	case "@weekly":
		expr = "0 0 * * 0"
	case "@daily", "@midnight":
		expr = "0 0 * * *"
	case "@hourly":
		expr = "0 * * * *"
	}
	f := strings.Fields(expr)
	second := "0"
	if seconds && len(f) == 6 {
		second, f = f[0], f[1:]
	}
	day := describeDay(f[2], f[3], f[4])
	when := describeTimes(second, f[0], f[1])
	if strings.HasPrefix(when, "at ") && day == "" && isList(f[1]) {
		day = "every day"
	}
	return strings.TrimSpace(when + " " + day)
}

// describeTimes describes the fields of the time of day.
func describeTimes(second, minute, hour string) string {
	if isList(second) && isList(minute) && isList(hour) {
		var at []string
		for h := range strings.SplitSeq(hour, ",") {
			for m := range strings.SplitSeq(minute, ",") {
				for s := range strings.SplitSeq(second, ",") {
					text := two(h) + ":" + two(m)
					if second != "0" {
						text += ":" + two(s)
					}
					at = append(at, text)
				}
			}
		}
		if len(at) <= 6 {
			return "at " + enumerate(at)
		}
	}
	parts := []string{}
	if second != "0" {
		parts = append(parts, describeField(second, "second"))
	}
	if second == "0" || minute != "*" {
		parts = append(parts, describeField(minute, "minute"))
	}
	if hour != "*" {
		parts = append(parts, describeField(hour, "hour"))
	} else if isList(minute) {
		parts = append(parts, "of every hour")
	}
	return strings.Join(parts, " ")
}

// describeField describes one field of the time.
func describeField(field, unit string) string {
	step, stepped := strings.CutPrefix(field, "*/")
	in := "at "
	if unit == "hour" {
		in = "in "
	}
	switch {
	case field == "*" || field == "?" || step == "1":
		return "every " + unit
	case stepped && isList(step):
		return "every " + step + " " + unit + "s"
	case isNumber(field):
		return in + unit + " " + field
	}
	return in + unit + "s " + strings.ReplaceAll(field, ",", ", ")
}

// describeDay describes the fields of the date.
func describeDay(dom, month, dow string) string {
	var days []string
	if !isStar(dow) {
		days = append(days, "on "+names(dow, "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"))
	}
	if !isStar(dom) {
		text := "on days " + strings.ReplaceAll(dom, ",", ", ")
		if isNumber(dom) {
			text = "on day " + dom
		}
		if isStar(month) {
			text += " of the month"
		}
		days = append(days, text)
	}
	text := strings.Join(days, " and ")
	if !isStar(month) {
		text = strings.TrimSpace(text + " in " + names(month, "", "January", "February", "March", "April", "May", "June", "July",
			"August", "September", "October", "November", "December"))
	}
	return text
}

// names returns the names of days or months for the numbers and short names in a field.
func names(field string, all ...string) string {
	var parts []string
	for part := range strings.SplitSeq(field, ",") {
		span, step, stepped := strings.Cut(part, "/")
		from, to, isSpan := strings.Cut(span, "-")
		text := nameOf(from, all)
		if isSpan {
			text += " to " + nameOf(to, all)
		}
		if stepped {
			text += ", each " + step
		}
		parts = append(parts, text)
	}
	return enumerate(parts)
}

func nameOf(text string, all []string) string {
	n, err := strconv.Atoi(text)
	for i, name := range all {
		if err == nil && i == n || err != nil && len(text) == 3 && strings.HasPrefix(strings.ToLower(name), strings.ToLower(text)) {
			return name
		}
	}
	return text
}

func enumerate(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}

// interval returns a duration in words.
func interval(d time.Duration) string {
	for _, unit := range []struct {
		name string
		of   time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		switch n := d / unit.of; {
		case d%unit.of != 0 || n == 0:
		case n == 1:
			return unit.name
		default:
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return d.String()
}

func isStar(field string) bool   { return field == "*" || field == "?" }
func isNumber(field string) bool { _, err := strconv.ParseUint(field, 10, 8); return err == nil }

// isList reports whether a field has only numbers.
func isList(field string) bool {
	for n := range strings.SplitSeq(field, ",") {
		if !isNumber(n) {
			return false
		}
	}
	return true
}

func two(n string) string {
	if len(n) < 2 {
		return "0" + n
	}
	return n
}
