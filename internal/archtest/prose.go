package archtest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxProse is the maximum length of a line of a comment or of prose in Markdown, in characters.
const maxProse = 100

// phrase is a phrase that makes readers stumble, and what to write instead.
type phrase struct{ not, but string }

// phrases are words of our own for which the field has better ones, and turns of phrase that hide
// the subject of a sentence. Each is a regular expression.
var phrases = []phrase{
	{`says whether`, "reports whether"},
	{`tells of`, "reports, names, lists"},
	{`(stands|stood) (in|on|there)\b`, "is stored in, is in, is"},
	{`\b[Ww]hoever\b`, "the caller, another process, the claiming worker"},
	{`\b(comes|come|became|become|becomes) of\b`, "outcome, result, state"},
	{`looks after`, "monitors"},
	{`\bbesides?\b`, "alongside, next to, also"},
	{`\ba sort of\b`, "a kind of, a type of"},
	{`\banew\b`, "again, recreate, a new one"},
	{`\b(takes?|taken|took) (it|them|tasks?) up\b|\b(takes?|taken|took) up\b`, "resume, pick up"},
	{`\bdeaf\b`, "unresponsive"},
	{`claims ahead`, "prefetches"},
	{`\b(is|are) told\b`, "receives, gets, is notified"},
	{`\ball the same\b`, "still, anyway, nevertheless"},
	{`\bcomes by\b`, "runs, looks, polls"},
}

var compiledPhrases = func() (all []*regexp.Regexp) {
	for _, p := range phrases {
		all = append(all, regexp.MustCompile(p.not))
	}
	return all
}()

// quoted matches text in backticks or quotation marks, such as quotations and output of a program.
var quoted = regexp.MustCompile("`[^`]*`|\"[^\"]*\"")

// Prose returns the lines of comments and of Markdown in a repository that are too long or contain
// one of the phrases. Tables, code between fences and lines with a URL may have any length; text in
// quotation marks or backticks may contain any phrase.
func Prose(root string) (breaches []string, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && (skipped(d.Name()) || d.Name() == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil || filepath.ToSlash(name) == "internal/archtest/prose.go" {
			return err
		}
		var comment string
		switch filepath.Ext(path) {
		case ".md":
		case ".go":
			comment = "//"
		case ".sql":
			comment = "--"
		default:
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		breaches = append(breaches, prose(filepath.ToSlash(name), string(text), comment)...)
		return nil
	})
	return breaches, err
}

// prose checks one file: its comments, which begin with the given mark, or the whole text if the
// mark is empty.
func prose(name, text, comment string) (breaches []string) {
	fenced := false
	for i, line := range strings.Split(text, "\n") {
		words := line
		if comment == "" {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				fenced = !fenced
				continue
			}
			if fenced {
				continue
			}
		} else {
			trimmed := strings.TrimSpace(line)
			if !strings.HasPrefix(trimmed, comment) || strings.HasPrefix(trimmed, "//go:") {
				continue
			}
			words = trimmed
		}
		add := func(format string, args ...any) {
			breaches = append(breaches, fmt.Sprintf("%s:%d: %s", name, i+1, fmt.Sprintf(format, args...)))
		}
		table := comment == "" && strings.HasPrefix(line, "|")
		if n := utf8.RuneCountInString(line); n > maxProse && !table && !strings.Contains(line, "://") {
			add("%d characters, more than %d: wrap it", n, maxProse)
		}
		words = quoted.ReplaceAllString(words, "")
		for j, p := range compiledPhrases {
			if found := p.FindString(words); found != "" {
				add("%q: write %s", found, phrases[j].but)
			}
		}
	}
	return breaches
}
