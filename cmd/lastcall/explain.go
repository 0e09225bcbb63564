//go:build !norehearse

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/manifest"
	"github.com/lastcall-go/lastcall/internal/fixes"
	"github.com/lastcall-go/lastcall/rehearse"
)

// explanation holds the flags that ask about a finding.
type explanation struct {
	code     string
	language string
	program  bool
}

func (e *explanation) flags(f *pflag.FlagSet) {
	f.StringVar(&e.code, "explain", "", "explain a finding, and show the smallest fix in a complete program")
	f.StringVar(&e.language, "language", string(fixes.Go), "the language of that program: "+names(fixes.Languages()))
	f.BoolVar(&e.program, "program", false, "with --explain: write the corrected program, and nothing else")
}

// names lists languages as one types them.
func names(languages []fixes.Language) string {
	var all []string
	for _, l := range languages {
		all = append(all, string(l))
	}
	return strings.Join(all, ", ")
}

// write explains a finding, and shows a program that has it and one that does not.
func (e *explanation) write(w io.Writer) error {
	code := rehearse.Code(strings.ToUpper(e.code))
	if manifest.Title(code) == "" {
		return usageError{fmt.Errorf("there is no finding %q: they are %v", e.code, append(rehearse.Codes(), manifest.Codes()...))}
	}
	who := "The program"
	if !code.Known() {
		who = "What the manifest describes"
	}
	language := fixes.Language(strings.ToLower(e.language))
	fix, err := fixes.Find(string(code), language)
	if err != nil && (e.program || errors.Is(err, fixes.ErrLanguage)) {
		return usageError{err}
	}
	if e.program {
		_, err := io.WriteString(w, fix.Fixed.Text)
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s %s.\n\n%s\n\n%s\n\n", code, who, manifest.Title(code), manifest.Why(code), manifest.Change(code))
	if err != nil {
		text := err.Error()
		fmt.Fprintf(&b, "%s%s.\n", strings.ToUpper(text[:1]), text[1:])
	} else {
		fmt.Fprintf(&b, "The fix in %s: + is what a program with this mistake lacks, - is what it has instead.\n\n%s\n", fix.Language, fix.Diff())
		b.WriteString("The corrected program alone: add --program.\n")
	}
	in, lacking := fixes.In(string(code))
	if len(in) > 0 {
		fmt.Fprintf(&b, "In another language: --language with one of %s.\n", names(in))
	}
	for _, one := range lacking {
		if !slices.Contains(one.Languages, language) { // otherwise the reason is above
			fmt.Fprintf(&b, "Not with %s: %s.\n", names(one.Languages), one.Why)
		}
	}
	_, err = io.WriteString(w, b.String())
	return err
}
