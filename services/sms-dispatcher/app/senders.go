package app

import (
	"errors"
	"fmt"
	"strings"

	"doorcode/pkg/phone"
)

// Senders says for each country, as two capital letters of ISO 3166-1, who a
// message comes from. There is no sender that is right everywhere, so a country
// without an entry gets no message (providers.md 4.6).
type Senders map[string]string

// UnmarshalText reads `US=12025550100,NL=Lanternbird`; blanks around a part do
// not count. What a sender may look like is the provider's matter.
func (s *Senders) UnmarshalText(text []byte) error {
	all := Senders{}
	for entry := range strings.SplitSeq(string(text), ",") {
		country, sender, found := strings.Cut(entry, "=")
		country, sender = strings.TrimSpace(country), strings.TrimSpace(sender)
		_, twice := all[country]
		switch {
		case !found || sender == "":
			return errors.New("an entry is not of the form COUNTRY=SENDER")
		case !phone.IsRegion(country):
			return fmt.Errorf("%q is no country; two capital letters are wanted", country)
		case twice:
			return fmt.Errorf("the country %s has two senders", country)
		}
		all[country] = sender
	}
	*s = all
	return nil
}
