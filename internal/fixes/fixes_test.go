package fixes

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

func TestFind_HasEachMistakeInEachLanguageOrSaysWhyNot(t *testing.T) {
	used := map[string]bool{}
	for _, code := range Codes() {
		for _, l := range Languages() {
			fix, err := Find(code, l)
			if why := none[key{code, l}]; why != "" {
				if err == nil || !strings.Contains(err.Error(), why) {
					t.Errorf("%s in %s: %v, want %q", code, l, err, why)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s in %s: %v", code, l, err)
				continue
			}
			if fix.Broken.Text == fix.Fixed.Text || fix.Code != code || fix.Language != l {
				t.Errorf("%s in %s has %+v", code, l, fix)
			}
			used[fix.Broken.File], used[fix.Fixed.File] = true, true
		}
	}
	err := fs.WalkDir(programs, "programs", func(path string, d fs.DirEntry, err error) error {
		if file := strings.TrimPrefix(path, "programs/"); err == nil && !d.IsDir() && !used[file] {
			t.Errorf("%s belongs to no code", file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A language either has programs for a code or appears once among those that have none.
func TestIn_HasEachLanguageOnce(t *testing.T) {
	for _, code := range Codes() {
		have, lack := In(code)
		all := slices.Clone(have)
		for i, one := range lack {
			all = append(all, one.Languages...)
			if one.Why == "" || i > 0 && one.Why == lack[i-1].Why {
				t.Errorf("%s: %+v", code, lack)
			}
		}
		slices.Sort(all)
		if want := slices.Sorted(slices.Values(Languages())); !slices.Equal(all, want) {
			t.Errorf("%s has %v and %v, want each of %v once", code, have, lack, want)
		}
	}
	if have, lack := In("LC109"); have != nil || lack != nil {
		t.Errorf("a code without programs has %v and %v", have, lack)
	}
}

func TestFind_WhatIsNotThereIsAnError(t *testing.T) {
	if _, err := Find("LC103", "cobol"); !errors.Is(err, ErrLanguage) {
		t.Errorf("a language that is not there: %v", err)
	}
	if _, err := Find("LC999", Go); err == nil || errors.Is(err, ErrLanguage) {
		t.Errorf("a code that is not there: %v", err)
	}
}

// The lines of one mark, together with those without a mark, are one of the two programs.
func TestDiff_HasBothPrograms(t *testing.T) {
	for _, code := range Codes() {
		for _, l := range Languages() {
			fix, err := Find(code, l)
			if err != nil {
				continue
			}
			var broken, right []string
			for line := range strings.Lines(fix.Diff()) {
				mark, text := line[:1], strings.TrimSuffix(strings.TrimPrefix(line[1:], " "), "\n")
				if line == "\n" {
					mark, text = " ", ""
				}
				if mark != "+" {
					broken = append(broken, text)
				}
				if mark != "-" {
					right = append(right, text)
				}
			}
			if !slices.Equal(broken, lines(fix.Broken.Text)) || !slices.Equal(right, lines(fix.Fixed.Text)) {
				t.Errorf("%s in %s: the lines of the difference are not those of the programs:\n%s", code, l, fix.Diff())
			}
		}
	}
}
