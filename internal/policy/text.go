package policy

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Bounds of what a reason repeats: characters of one name, entries of one list, and characters of a hint.
const (
	maxQuoted = 64
	maxListed = 5
	maxHint   = 256
)

// Quote makes a name that others chose fit for a reason: quoted, escaped and cut to 64 characters.
func Quote(name string) string { return fmt.Sprintf("%.*q", maxQuoted, name) }

// List quotes the first five of several names and counts the rest.
func List(names []string) string {
	return list(len(names), func(i int) string { return Quote(names[i]) })
}

// ListIDs is List for ids, which need no quotes.
func ListIDs(ids []int64) string {
	return list(len(ids), func(i int) string { return strconv.FormatInt(ids[i], 10) })
}

func list(count int, item func(int) string) string {
	shown := make([]string, 0, maxListed)
	for i := range min(count, maxListed) {
		shown = append(shown, item(i))
	}
	text := strings.Join(shown, ", ")
	if count > maxListed {
		text += fmt.Sprintf(" and %d more", count-maxListed)
	}
	return text
}

// Printable makes a text that is shown as given safe for a terminal and a log: what is not printable becomes a
// replacement character, and what is beyond the bound, in characters, an ellipsis.
func Printable(text string, most int) string {
	var b strings.Builder
	for i, c := range []rune(cut(text, most)) {
		switch {
		case i == most:
			b.WriteRune('…')
		case unicode.IsPrint(c):
			b.WriteRune(c)
		default:
			b.WriteRune(unicode.ReplacementChar)
		}
	}
	return b.String()
}

// cut bounds the work on a text of which at most so many characters are shown, and leaves one more to tell.
func cut(text string, most int) string {
	count := 0
	for at := range text {
		if count > most {
			return text[:at]
		}
		count++
	}
	return text
}
