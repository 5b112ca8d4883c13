//! How a library moved an op's data, in columns of their own.

/// What NCCL told of a collective; each is empty where it told nothing.
///
/// While an op is measured these are words among its remarks, `algorithm=ring`, as whatever else is found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// `ring`, `tree`, `nvls`.
    pub algorithm: String,
    /// `ll`, `ll128`, `simple`.
    pub protocol: String,
    /// `p2p`, `shm`, `net/ib/gdrdma`; several joined by `+`.
    pub transport: String,
}

const KEYS: [&str; 3] = ["algorithm", "protocol", "transport"];

impl Route {
    /// Of these names.
    pub fn of([algorithm, protocol, transport]: [String; 3]) -> Self {
        Route { algorithm, protocol, transport }
    }

    /// Takes its words out of the remarks on a measurement, and returns the others.
    pub fn split(remarks: &str) -> (Self, String) {
        let mut names = [const { String::new() }; 3];
        let mut others = Vec::new();
        for word in remarks.split_whitespace() {
            let pair = word.split_once('=');
            match pair.and_then(|(key, name)| Some((KEYS.iter().position(|known| *known == key)?, name))) {
                Some((place, name)) => name.clone_into(&mut names[place]),
                None => others.push(word),
            }
        }
        (Route::of(names), others.join(" "))
    }

    /// As words among remarks.
    pub fn words(&self) -> String {
        let names = [&self.algorithm, &self.protocol, &self.transport];
        let known = KEYS.iter().zip(names).filter(|(_, name)| !name.is_empty());
        known.map(|(key, name)| format!("{key}={name}")).collect::<Vec<_>>().join(" ")
    }

    /// Whether nothing was told.
    pub fn is_empty(&self) -> bool {
        *self == Route::default()
    }
}

#[cfg(test)]
mod tests {
    use super::Route;

    #[test]
    fn words_find_their_columns_and_the_way_back() {
        let remarks = "pipelined=1.0e-5 algorithm=ring protocol=ll128 noisy transport=p2p+net/ib";
        let (route, others) = Route::split(remarks);
        assert_eq!(others, "pipelined=1.0e-5 noisy");
        assert_eq!(route, Route::of(["ring", "ll128", "p2p+net/ib"].map(str::to_owned)));
        assert_eq!(Route::split(&route.words()), (route, String::new()));
        assert!(Route::split("algo=66 tile=20").0.is_empty());
    }
}
