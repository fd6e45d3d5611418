//! Turns tokens into a tree, and keeps the limits.
//!
//! ```text
//! or       = and { "||" and }
//! and      = relation { "&&" relation }
//! relation = sum [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" ) sum ]
//! sum      = unary { "+" unary }
//! unary    = "!" unary | "-" number | primary [ "." "startsWith" "(" or ")" ]
//! primary  = literal | list | "(" or ")" | "size" "(" or ")" | "has" "(" path ")" | path
//!          | "under" "(" or "," or ")" | "host" "(" or ")"
//! ```

use serde_json::{Number, Value};

use super::function::Function;
use super::token::{Placed, Token, fault, tokens};
use super::{ExpressionFault, MAX_EXPRESSION_BYTES, MAX_EXPRESSION_DEPTH, MAX_EXPRESSION_NODES};
use crate::id::StepName;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
}

#[derive(Debug)]
pub(super) enum Node {
    Literal(Value),
    List(Vec<Self>),
    Path(Path),
    Has(Path),
    Size(Box<Self>),
    Function(Function, Vec<Self>),
    Not(Box<Self>),
    Binary(Operator, Box<Self>, Box<Self>),
}

#[derive(Debug)]
pub(super) struct Path {
    pub(super) root: Root,
    pub(super) segments: Vec<Segment>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Root {
    Inputs,
    Params,
    Output(StepName),
    Item,
    Index,
}

#[derive(Debug)]
pub(super) enum Segment {
    Key(String),
    At(u64),
    Computed(Box<Node>),
}

/// What a text may speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A run: its input, its steps' outputs, and the item of a `for_each`.
    Run,
    /// The parameters of a tool call, as `params`.
    Params,
}

pub(super) fn parse(source: &str, subject: Subject) -> Result<Node, ExpressionFault> {
    if source.len() > MAX_EXPRESSION_BYTES {
        let reason = format!("an expression has at most {MAX_EXPRESSION_BYTES} bytes");
        return Err(fault(1, reason));
    }
    let mut parser = Parser {
        tokens: tokens(source)?,
        subject,
        next: 0,
        nodes: 0,
        depth: 0,
    };
    let root = parser.or()?;
    if *parser.peek() == Token::End {
        return Ok(root);
    }
    Err(parser.unexpected("the end"))
}

struct Parser {
    tokens: Vec<Placed>,
    subject: Subject,
    next: usize,
    nodes: usize,
    depth: usize,
}

type Parsed = Result<Node, ExpressionFault>;

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens
            .get(self.next)
            .map_or(&Token::End, |(token, _)| token)
    }

    fn column(&self) -> usize {
        self.tokens
            .get(self.next)
            .or(self.tokens.last())
            .map_or(1, |(_, column)| *column)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(found) if *found == symbol)
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), ExpressionFault> {
        if self.eat(symbol) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{symbol}`")))
        }
    }

    fn unexpected(&self, wanted: &str) -> ExpressionFault {
        let found = match self.peek() {
            Token::Name(name) => format!("`{name}`"),
            Token::Number(number) => format!("`{number}`"),
            Token::Text(_) => "a text".to_owned(),
            Token::Symbol(symbol) => format!("`{symbol}`"),
            Token::End => "the end".to_owned(),
        };
        fault(self.column(), format!("expected {wanted}, found {found}"))
    }

    fn node(&mut self, node: Node) -> Parsed {
        self.count()?;
        Ok(node)
    }

    fn count(&mut self) -> Result<(), ExpressionFault> {
        self.nodes += 1;
        if self.nodes > MAX_EXPRESSION_NODES {
            let reason = format!("an expression has at most {MAX_EXPRESSION_NODES} nodes");
            return Err(fault(self.column(), reason));
        }
        Ok(())
    }

    fn nested<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, ExpressionFault>,
    ) -> Result<T, ExpressionFault> {
        self.depth += 1;
        if self.depth > MAX_EXPRESSION_DEPTH {
            let reason = format!("an expression nests at most {MAX_EXPRESSION_DEPTH} deep");
            return Err(fault(self.column(), reason));
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn binary(&mut self, operator: Operator, left: Node, right: Node) -> Parsed {
        self.node(Node::Binary(operator, Box::new(left), Box::new(right)))
    }

    fn or(&mut self) -> Parsed {
        let mut left = self.and()?;
        while self.eat("||") {
            let right = self.and()?;
            left = self.binary(Operator::Or, left, right)?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed {
        let mut left = self.relation()?;
        while self.eat("&&") {
            let right = self.relation()?;
            left = self.binary(Operator::And, left, right)?;
        }
        Ok(left)
    }

    fn relation(&mut self) -> Parsed {
        let left = self.sum()?;
        let Some(operator) = self.relation_operator() else {
            return Ok(left);
        };
        self.next += 1;
        let right = self.sum()?;
        if self.relation_operator().is_some() {
            let reason = "comparisons do not chain; join them with `&&`";
            return Err(fault(self.column(), reason));
        }
        self.binary(operator, left, right)
    }

    fn relation_operator(&self) -> Option<Operator> {
        let text = match self.peek() {
            Token::Symbol(symbol) => *symbol,
            Token::Name(name) => name.as_str(),
            Token::Number(_) | Token::Text(_) | Token::End => return None,
        };
        match text {
            "==" => Some(Operator::Equal),
            "!=" => Some(Operator::NotEqual),
            "<" => Some(Operator::Less),
            "<=" => Some(Operator::LessOrEqual),
            ">" => Some(Operator::Greater),
            ">=" => Some(Operator::GreaterOrEqual),
            "in" => Some(Operator::In),
            _ => None,
        }
    }

    fn sum(&mut self) -> Parsed {
        let mut left = self.unary()?;
        while self.eat("+") {
            let right = self.unary()?;
            left = self.binary(Operator::Add, left, right)?;
        }
        if self.is("-") {
            return Err(fault(
                self.column(),
                "there is no subtraction; `-` stands before a number",
            ));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        if self.eat("!") {
            let inner = self.nested(Self::unary)?;
            return self.node(Node::Not(Box::new(inner)));
        }
        if self.eat("-") {
            return self.negative();
        }
        let inner = self.primary()?;
        if !self.is_method() {
            return Ok(inner);
        }
        self.next += 2;
        let start = self.call(Self::or)?;
        self.node(Node::Function(Function::StartsWith, vec![inner, start]))
    }

    /// Whether a method is called here: it is no field, although it looks like one.
    fn is_method(&self) -> bool {
        let after: Vec<&Token> = self
            .tokens
            .iter()
            .skip(self.next)
            .take(3)
            .map(|(one, _)| one)
            .collect();
        matches!(
            after.as_slice(),
            [Token::Symbol("."), Token::Name(name), Token::Symbol("(")] if name == "startsWith"
        )
    }

    fn negative(&mut self) -> Parsed {
        let column = self.column();
        let Token::Number(number) = self.take() else {
            return Err(fault(column, "`-` stands only before a number"));
        };
        let negative = match (number.as_u64(), number.as_f64()) {
            (Some(n), _) => i64::try_from(-i128::from(n)).ok().map(Number::from),
            (None, Some(n)) => Number::from_f64(-n),
            (None, None) => None,
        };
        let negative = negative.ok_or_else(|| fault(column, "an integer outside 64 bits"))?;
        self.node(Node::Literal(Value::Number(negative)))
    }

    fn primary(&mut self) -> Parsed {
        if self.eat("(") {
            return self.nested(|parser| {
                let inner = parser.or()?;
                parser.expect(")")?;
                Ok(inner)
            });
        }
        if self.eat("[") {
            let items = self.nested(Self::list)?;
            return self.node(Node::List(items));
        }
        if !matches!(
            self.peek(),
            Token::Name(_) | Token::Number(_) | Token::Text(_)
        ) {
            return Err(self.unexpected("a value"));
        }
        let column = self.column();
        match self.take() {
            Token::Number(number) => self.node(Node::Literal(Value::Number(number))),
            Token::Text(text) => self.node(Node::Literal(Value::String(text))),
            Token::Name(name) => self.named(&name, column),
            Token::Symbol(_) | Token::End => Err(self.unexpected("a value")),
        }
    }

    /// The items behind an opening bracket, up to and over the closing one.
    fn list(&mut self) -> Result<Vec<Node>, ExpressionFault> {
        let mut items = Vec::new();
        while !self.eat("]") {
            items.push(self.or()?);
            if !self.eat(",") {
                self.expect("]")?;
                break;
            }
        }
        Ok(items)
    }

    fn named(&mut self, name: &str, column: usize) -> Parsed {
        match name {
            "true" | "false" => self.node(Node::Literal(Value::Bool(name == "true"))),
            "null" => self.node(Node::Literal(Value::Null)),
            "size" if self.is("(") => {
                let inner = self.call(Self::or)?;
                self.node(Node::Size(Box::new(inner)))
            }
            "has" if self.is("(") => self.has(),
            "host" if self.is("(") => {
                let url = self.call(Self::or)?;
                self.node(Node::Function(Function::Host, vec![url]))
            }
            "under" if self.is("(") => {
                let both = self.call(|parser| {
                    let path = parser.or()?;
                    parser.expect(",")?;
                    Ok(vec![path, parser.or()?])
                })?;
                self.node(Node::Function(Function::Under, both))
            }
            "in" => Err(fault(column, "expected a value, found `in`")),
            _ if self.is("(") => {
                let reason =
                    format!("there is no function `{name}`; there are size, has, host and under");
                Err(fault(column, reason))
            }
            _ => {
                let path = self.path(name, column)?;
                self.node(Node::Path(path))
            }
        }
    }

    fn call<T>(
        &mut self,
        argument: impl FnOnce(&mut Self) -> Result<T, ExpressionFault>,
    ) -> Result<T, ExpressionFault> {
        self.expect("(")?;
        self.nested(|parser| {
            let argument = argument(parser)?;
            parser.expect(")")?;
            Ok(argument)
        })
    }

    fn has(&mut self) -> Parsed {
        let column = self.column() + 1;
        let path = self.call(|parser| {
            let column = parser.column();
            let Token::Name(name) = parser.take() else {
                return Err(fault(column, "has() takes a path"));
            };
            parser.path(&name, column)
        })?;
        if path.segments.is_empty() && !matches!(path.root, Root::Output(_)) {
            return Err(fault(
                column,
                "has() takes a path to a field, e.g. has(inputs.topic)",
            ));
        }
        self.node(Node::Has(path))
    }

    fn path(&mut self, name: &str, column: usize) -> Result<Path, ExpressionFault> {
        let root = match (self.subject, name) {
            (Subject::Params, "params") => Root::Params,
            (Subject::Run, "inputs") => Root::Inputs,
            (Subject::Run, "item") => Root::Item,
            (Subject::Run, "index") => Root::Index,
            (Subject::Run, "steps") => self.output()?,
            (subject, _) => {
                let there = match subject {
                    Subject::Run => "there are inputs, steps, item and index",
                    Subject::Params => "there is only params",
                };
                let reason = format!("`{name}` is not known here; {there}");
                return Err(fault(column, reason));
            }
        };
        let mut segments = Vec::new();
        while let Some(segment) = self.segment()? {
            self.count()?;
            segments.push(segment);
        }
        Ok(Path { root, segments })
    }

    /// The name of a step and `.output`, behind `steps`.
    fn output(&mut self) -> Result<Root, ExpressionFault> {
        let column = self.column();
        let form = || fault(column, "a step's output is written steps.NAME.output");
        let Some(Segment::Key(name)) = self.segment()? else {
            return Err(form());
        };
        let step = StepName::new(&name).map_err(|rule| fault(column + 1, rule.to_string()))?;
        match self.segment()? {
            Some(Segment::Key(output)) if output == "output" => Ok(Root::Output(step)),
            _ => Err(form()),
        }
    }

    fn segment(&mut self) -> Result<Option<Segment>, ExpressionFault> {
        if self.is_method() {
            return Ok(None);
        }
        if self.eat(".") {
            let column = self.column();
            let Token::Name(name) = self.take() else {
                return Err(fault(column, "expected a field's name after `.`"));
            };
            return Ok(Some(Segment::Key(name)));
        }
        if !self.eat("[") {
            return Ok(None);
        }
        let inner = self.nested(|parser| {
            let inner = parser.or()?;
            parser.expect("]")?;
            Ok(inner)
        })?;
        let index = match &inner {
            Node::Literal(literal) => literal.as_u64(),
            Node::List(_)
            | Node::Path(_)
            | Node::Has(_)
            | Node::Size(_)
            | Node::Function(..)
            | Node::Not(_)
            | Node::Binary(..) => None,
        };
        Ok(Some(match (inner, index) {
            (_, Some(index)) => Segment::At(index),
            (Node::Literal(Value::String(key)), None) => Segment::Key(key),
            (other, None) => Segment::Computed(Box::new(other)),
        }))
    }
}
