package job

import "math"

// maxIDDigits are the digits of 2^63-1.
const maxIDDigits = 19

// ParseID reads an id of GitLab's: a canonical decimal from 1 to 2^63-1 (no sign, blank or leading zero), so that one id
// has one spelling everywhere. It is written out because several ids are read for each request, and strconv takes
// several times as long.
func ParseID(text string) (int64, bool) {
	if text == "" || len(text) > maxIDDigits || text[0] < '1' || text[0] > '9' {
		return 0, false
	}
	var id uint64 // which holds any number of 19 digits
	for i := range len(text) {
		digit := text[i] - '0'
		if digit > 9 {
			return 0, false
		}
		id = id*10 + uint64(digit)
	}
	if id > math.MaxInt64 {
		return 0, false
	}
	return int64(id), true
}
