package archtest

import (
	"fmt"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxProse is the maximum length of a line with a comment, or of prose, in characters.
const maxProse = 100

// phrase is a phrase that makes readers stumble: a regular expression, the texts of which each
// match has one, and what to write instead.
type phrase struct {
	not  *regexp.Regexp
	with []string
	but  string
}

// phrases are words of our own for which the field has better ones, and turns of phrase that hide
// the subject of a sentence.
var phrases = []phrase{
	{re(`says whether`), []string{"says whether"}, "reports whether"},
	{re(`tells of`), []string{"tells of"}, "reports, names, lists"},
	{re(`(stands|stood) (in|on|there)\b`), []string{"stands ", "stood "}, "is stored in, is in, is"},
	{re(`\b[Ww]hoever\b`), []string{"hoever"}, "the caller, another process, the claiming worker"},
	{re(`\b(comes|come|became|become|becomes) of\b`), []string{"ome of", "omes of", "ame of"}, "outcome, result, state"},
	{re(`looks after`), []string{"looks after"}, "monitors"},
	{re(`\bbesides?\b`), []string{"beside"}, "alongside, next to, also"},
	{re(`\ba sort of\b`), []string{"sort of"}, "a kind of, a type of"},
	{re(`\banew\b`), []string{"anew"}, "again, recreate, a new one"},
	{re(`\b(takes?|taken|took) ((it|them|tasks?) )?up\b`), []string{"take", "took"}, "resume, pick up"},
	{re(`\bdeaf\b`), []string{"deaf"}, "unresponsive"},
	{re(`claims ahead`), []string{"claims ahead"}, "prefetches"},
	{re(`\b(is|are) told\b`), []string{" told"}, "receives, gets, is notified"},
	{re(`\ball the same\b`), []string{"all the same"}, "still, anyway, nevertheless"},
	{re(`\bcomes by\b`), []string{"comes by"}, "runs, looks, polls"},
	{re(`\b([Tt]he|a|each|every) begin\b`), []string{" begin"}, "the beginning, the start"},
}

func re(text string) *regexp.Regexp { return regexp.MustCompile(text) }

// longestPhrase is more than the length of any phrase.
const longestPhrase = 40

// find returns where the phrase is in a text. It looks only around the texts that are in each
// match, since regular expressions are slow.
func (p phrase) find(text string) (all [][]int) {
	for _, with := range p.with {
		for from := 0; ; {
			at := strings.Index(text[from:], with)
			if at < 0 {
				break
			}
			at += from
			from = at + len(with)
			begin := max(0, at-longestPhrase)
			for _, found := range p.not.FindAllStringIndex(text[begin:min(len(text), from+longestPhrase)], -1) {
				one := []int{begin + found[0], begin + found[1]}
				if one[0] < from && one[1] > at {
					all = append(all, one)
				}
			}
		}
	}
	return all
}

// unquoted replaces text in backticks or quotation marks, such as quotations and output of a
// program, by as many NULs.
func unquoted(text string) string {
	plain := []byte(text)
	for at := 0; ; {
		open := strings.IndexAny(text[at:], "`\"")
		if open < 0 {
			return string(plain)
		}
		open += at
		length := strings.IndexByte(text[open+1:], text[open])
		if length < 0 {
			at = open + 1
			continue
		}
		at = open + length + 2
		clear(plain[open:at])
	}
}

// marks are the beginnings of comments, by the extension of a file or, without one, by its name.
// Prose has none.
var marks = map[string]string{
	".go": "//", ".java": "//", ".js": "//", ".mod": "//", ".work": "//",
	".sql": "--",
	".py":  "#", ".rb": "#", ".ru": "#", ".sh": "#", ".service": "#", ".yaml": "#", ".yml": "#",
	"Containerfile": "#", "Dockerfile": "#", "Makefile": "#",
	".md": "", "llms.txt": "",
}

// markOf returns how comments begin in a file, and whether the file has prose at all. Files in
// scripts have no extension.
func markOf(name string) (mark string, has bool) {
	if path.Base(path.Dir(name)) == "scripts" && path.Ext(name) == "" {
		return "#", true
	}
	if mark, has = marks[path.Base(name)]; has {
		return mark, true
	}
	mark, has = marks[path.Ext(name)]
	return mark, has
}

func hasProse(name string) bool {
	_, has := markOf(filepath.ToSlash(name))
	return has
}

// words is the prose of one line of a file.
type words struct {
	line   int // from 1
	text   string
	begins bool // it does not go on with the text of the line before
	long   bool // the line may have any length
}

// Prose returns the lines with comments, and of Markdown, that are too long, and the phrases in
// them, also across the end of a line. Tables, code (indented or between fences) and lines with a URL
// or with nolint may have any length; text in quotation marks or backticks may contain any phrase.
func Prose(t *Tree) (breaches []string) {
	for _, f := range t.files {
		if f.name != "internal/archtest/prose.go" && hasProse(f.name) {
			breaches = append(breaches, prose(t, f)...)
		}
	}
	return breaches
}

func prose(t *Tree, f file) (breaches []string) {
	mark, _ := markOf(f.name)
	var found []words
	switch {
	case f.parsed != nil:
		found = commentsOfGo(t.set, f)
	case mark == "":
		found = markdown(f.text)
	default:
		found = comments(f.text, mark)
	}
	lines := strings.Split(f.text, "\n")
	for _, w := range found {
		line := lines[w.line-1]
		if n := utf8.RuneCountInString(line); n > maxProse && !w.long && !strings.Contains(line, "://") {
			breaches = append(breaches, fmt.Sprintf("%s:%d: %d characters, more than %d: wrap it", f.name, w.line, n, maxProse))
		}
	}
	return append(breaches, phrasesIn(f.name, found)...)
}

// commentsOfGo returns the comments of a file of Go, without directives for the compiler.
func commentsOfGo(set *token.FileSet, f file) (found []words) {
	for _, group := range f.parsed.Comments {
		for _, comment := range group.List {
			if strings.HasPrefix(comment.Text, "//go:") {
				continue
			}
			first := set.Position(comment.Pos()).Line
			for i, text := range strings.Split(comment.Text, "\n") {
				text = strings.TrimPrefix(text, "//")
				found = append(found, words{line: first + i, text: text, begins: comment == group.List[0] && i == 0,
					long: isCode(text) || strings.HasPrefix(text, "nolint:")})
			}
		}
	}
	return found
}

// comments returns the comments that begin with a mark: at the beginning of a line, or behind white
// space that is not in a text in quotation marks.
func comments(text, mark string) (found []words) {
	trailed := -1 // the line behind the last one with code and a comment
	for i, line := range strings.Split(text, "\n") {
		for from := 0; ; {
			at := strings.Index(line[from:], mark)
			if at < 0 {
				break
			}
			at += from
			from = at + len(mark)
			before := line[:at]
			if at > 0 && !strings.HasSuffix(before, " ") && !strings.HasSuffix(before, "\t") {
				continue
			}
			if strings.Count(before, `"`)%2 == 0 && strings.Count(before, "'")%2 == 0 {
				trails := strings.TrimSpace(before) != ""
				found = append(found, words{line: i + 1, text: line[from:], begins: trails || trailed == i, long: isCode(line[from:])})
				if trails {
					trailed = i + 1
				}
				break
			}
		}
	}
	return found
}

// isCode reports whether a line of a comment is code, which is indented.
func isCode(text string) bool { return strings.HasPrefix(text, "  ") || strings.HasPrefix(text, "\t") }

// markdown returns the lines that are not code between fences.
func markdown(text string) (found []words) {
	fenced := false
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		} else if !fenced {
			found = append(found, words{line: i + 1, text: line, long: strings.HasPrefix(line, "|")})
		}
	}
	return found
}

// phrasesIn returns the phrases in a file. Lines that follow each other are read as one text, up to
// an empty line and to one that begins a list, a table's row or a heading.
func phrasesIn(name string, found []words) (breaches []string) {
	var text strings.Builder
	var starts []int // of each of found, in text
	for i, w := range found {
		trimmed := strings.TrimSpace(w.text)
		if i > 0 && (w.begins || w.line != found[i-1].line+1 || trimmed == "" || strings.ContainsAny(trimmed[:1], "-*|#")) {
			text.WriteByte('\n')
		} else {
			text.WriteByte(' ')
		}
		starts = append(starts, text.Len())
		text.WriteString(trimmed)
	}
	all := unquoted(text.String())
	for _, p := range phrases {
		for _, at := range p.find(all) {
			n, exact := slices.BinarySearch(starts, at[0])
			if !exact {
				n--
			}
			breaches = append(breaches, fmt.Sprintf("%s:%d: %q: write %s", name, found[n].line, all[at[0]:at[1]], p.but))
		}
	}
	return breaches
}
