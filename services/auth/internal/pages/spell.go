package pages

import "strings"

// spell writes a support reference as it is read out: "4 Foxtrot 7 2 – Kilo Quebec 9 Romeo" (ICAO alphabet).
func spell(reference string) string {
	words := map[rune]string{
		'A': "Alfa", 'B': "Bravo", 'C': "Charlie", 'D': "Delta", 'E': "Echo", 'F': "Foxtrot", 'G': "Golf", 'H': "Hotel",
		'J': "Juliett", 'K': "Kilo", 'M': "Mike", 'N': "November", 'P': "Papa", 'Q': "Quebec", 'R': "Romeo", 'S': "Sierra",
		'T': "Tango", 'V': "Victor", 'W': "Whiskey", 'X': "X-ray", 'Y': "Yankee", 'Z': "Zulu", '-': "–",
	}
	var spoken []string
	for _, c := range reference {
		word, letter := words[c]
		if !letter {
			word = string(c)
		}
		spoken = append(spoken, word)
	}
	return strings.Join(spoken, " ")
}
