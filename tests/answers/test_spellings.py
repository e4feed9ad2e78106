"""Pairs of answers such as graders of MATH are tried on, equal and not, each in both directions."""

import pytest

from sweb_jax.answers.apart import keys
from sweb_jax.answers.math_equal import equal

EQUAL = r'''
5\text{ cm} | 5
5 | 5\text{ meters}
5\mathrm{~cm} | 5
12\text{ square feet} | 12
12 | 12\,\mathrm{ft}^2
12\text{ feet}^2 | 12
60\text{ mph} | 60 miles per hour
60 | 60\text{ km/h}
60 | 60\frac{\text{km}}{\text{h}}
10\text{ inches} | 10 inches
10 | 10"
10 | 10\text{ in}
10 | 10 in.
10 | 10\text{ in}^3
3\text{ cm}^{3} | 3 cm³
5\text{ m/s} | 5 m/s
5 | 5 m/s^2
8\text{ pounds} | 8\text{ lbs}
150 | 150 cubic centimeters
24\pi | 24\pi\text{ cm}^2
24\pi\text{ square units} | 24 \pi
4 | 4 \text{ apples}
4 | 4 ways
36 | 36\text{ students}
50\% | 50
50\% | 0.5
50\% | \frac{1}{2}
50 | 50%
50 | 50 percent
12.5\% | 12.5\%
33\frac{1}{3}\% | \frac{100}{3}\%
33\frac{1}{3} | 33.\overline{3}
\$2.75 | 2.75
2.75 | \$2.75
\$1,234.50 | 1234.5
32,348 | \$32,\!348
1000000 | 1,000,000
5 | 5 dollars
5.00 | 5
5 | \text{\$5}
2\frac{1}{2} | 2.5
2\frac12 | \frac52
2 1/2 | 5/2
-2\frac{1}{2} | -2.5
-1\frac{3}{4} | -\frac{7}{4}
1\dfrac{4}{5} | 9/5
12 \frac{3}{4} | 12.75
90^\circ | 90
90 | 90^{\circ}
90 | 90 degrees
90 | 90^o
90 | 90\degree
\frac{\pi}{2} | \pi/2
60^{\circ} | 60\text{ degrees}
(-\infty, 3] | (-\infty,3]
[1,2) | \left[1, 2\right)
(-\infty,-1)\cup(1,\infty) | (1,\infty)\cup(-\infty,-1)
(-\infty,0) \cup (0,\infty) | (-\infty, 0) U (0, \infty)
[2,5] | 2 \le x \le 5
[2,5] | x \in [2,5]
(2,\infty) | x > 2
(-\infty,2) | x<2
(-\infty, -2) \cup (3,\infty) | x<-2 \text{ or } x>3
(-\infty, -2) \cup (3,\infty) | x < -2, x > 3
(0,1] | 0<x\leq 1
\left(-\frac{1}{2}, \infty\right) | (-0.5,\infty)
(-\infty,\infty) | \mathbb{R}
\{1,2,3\} | \{3,2,1\}
\{1,2,3\} | 1,2,3
\{1\} | 1
\left\{ \frac{1}{2}, 2 \right\} | \{2, 0.5\}
\emptyset | \varnothing
\emptyset | \{\}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} | \begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}
\begin{pmatrix} 1 \\ 2 \end{pmatrix} | \begin{pmatrix}1\\2\end{pmatrix}
\begin{pmatrix} 1/3 \\ 2 \end{pmatrix} | \begin{pmatrix}\frac{1}{3}\\2\end{pmatrix}
\begin{pmatrix} 1 \\ 2 \end{pmatrix} | (1,2)
\begin{pmatrix} 1 \\ 2 \end{pmatrix} | \langle 1, 2 \rangle
\begin{pmatrix} 1 \\ -2 \\ 3\end{pmatrix} | \left( \begin{array}{c} 1 \\ -2 \\ 3 \end{array} \right)
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} | \left[\begin{array}{cc}1 & 2\\3 & 4\end{array}\right]
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} | \begin{matrix}1&2\\3&4\end{matrix}
\begin{vmatrix}1&2\\3&4\end{vmatrix} | \begin{vmatrix} 1 & 2 \\ 3 & 4 \end{vmatrix}
\pm 2 | 2, -2
2,-2 | \pm 2
x = \pm 2 | \{-2, 2\}
1 \pm \sqrt{2} | 1+\sqrt{2}, 1-\sqrt{2}
\frac{1 \pm \sqrt{5}}{2} | \frac{1+\sqrt5}{2}, \frac{1-\sqrt5}{2}
\pm\sqrt{3} | -\sqrt{3}, \sqrt{3}
\sqrt{12} | 2\sqrt{3}
\sqrt{\frac{1}{2}} | \frac{\sqrt{2}}{2}
\frac{1}{\sqrt{2}} | \frac{\sqrt{2}}{2}
\sqrt[3]{8} | 2
\sqrt[3]{2} | 2^{1/3}
\sqrt[4]{16x^4} | \sqrt[4]{16x^4}
3\sqrt{5} | \sqrt{45}
\sqrt2 | \sqrt{2}
\sqrt 2 | 2^{0.5}
\frac{\sqrt3}3 | \frac{\sqrt{3}}{3}
\sqrt{x^2+1} | (x^2+1)^{1/2}
5\sqrt{2}+3 | 3+5\sqrt2
-\sqrt{2} | -2^{\frac12}
\log_2 8 | 3
\ln e | 1
\log_{10} 100 | 2
\log_2 3 | \frac{\ln 3}{\ln 2}
\ln 8 | 3\ln 2
\log_{3}{9} | 2
\ln(2) | \ln 2
e^{\ln 5} | 5
\sin 30^\circ | \frac12
\sin\frac{\pi}{6} | 0.5
\cos 60^{\circ} | \frac{1}{2}
\tan 45^\circ | 1
\arctan 1 | \frac{\pi}{4}
\sin^{-1} \frac12 | \frac{\pi}{6}
\cos x | \cos(x)
2\sin x\cos x | \sin 2x
\sin^2 x + \cos^2 x | 1
\sec x | \frac{1}{\cos x}
101_2 | 101_{2}
2A_{16} | 2A_{16}
101_2 | 101_{\text{two}}
12_{10} | 12
3.5\times 10^{4} | 35000
3.5 \cdot 10^4 | 35,000
1.5e3 | 1500
6.02\times10^{23} | 6.02 \times 10^{23}
10^{-3} | 0.001
2.5\times10^{-2} | 0.025
1{,}000 | 1000
10,\!000 | 10000
1,000 | 1000
12\,345 | 12345
1,234,567 | 1234567
100\,000 | 100000
x=5 | 5
5 | x = 5
x=5 | 5.0
y=-\frac{1}{2} | -0.5
f(x)=2x | 2x
n = 10 | 10
5 | x=5\text{ cm}
(x,y)=(1,2) | (1,2)
(1,2) | (x, y) = (1, 2)
x=1,y=2 | x=1\text{ and }y=2
a=2,b=3 | b=3, a=2
A=5 | 5
AB = 5 | 5
\angle ABC = 30^\circ | 30
S = 12 | 12
\text{(A)} | A
A | \text{(A)}
\textbf{(B)} | B
(C) | C
\text{C} | (C)
C | \mathrm{C}
D | D.
E | \text{E}
(\text{A}) | A
B | \boxed{B}
\text{(B)}\ 12 | \text{(B)}\ 12
\text{Monday} | Monday
\text{monday} | \text{Monday}
\text{June} | June
\text{even} | \text{Even}
\text{Yes} | yes
\text{Evelyn} | Evelyn
\text{odd} | odd
\text{ellipse} | \text{Ellipse}
\text{no solution} | no solution
\text{True} | true
\text{Friday} | \textbf{Friday}
\text{infinitely many} | infinitely many
\text{June 20} | June 20
\frac{2}{4} | \frac12
\frac{6}{4} | 1.5
\frac{1}{2} | \frac 12
\frac{1}{2} | \frac 1 2
\frac{1}{2} | \frac{1}2
\frac{1}{2} | \frac1{2}
\frac{1}{2} | \cfrac{1}{2}
\frac{1}{2} | {1 \over 2}
\frac{1}{2} | 1\over2
\frac{1}{2} | \frac { 1 } { 2 }
\frac{-1}{2} | -\frac{1}{2}
-\frac{1}{2} | \frac{1}{-2}
\frac{3}{4} | 3/4
\frac{3}{4} | .75
\frac{11}{2} | 5.5
\frac{x}{2} | \frac12 x
\frac{x}{2} | x/2
\frac{x}{2} | 0.5x
\frac{\pi}{4} | \frac14\pi
\frac{1}{72} | 1/72
3.0 | 3
3 | 3.000
0.5 | .5
-0.0 | 0
007 | 7
0.\overline{3} | \frac{1}{3}
0.\overline{142857} | \frac17
0.1\overline{6} | \frac{1}{6}
0.\dot{3} | \frac13
0.333... | 0.333...
0.3\overline{3} | 1/3
x > 5 | 5 < x
x \ge 5 | x\geq 5
x \geqslant 5 | 5 \leq x
2x > 10 | x > 5
-1 < x < 1 | 1 > x > -1
x\neq 2 | x \ne 2
x^2+2x+1 | 1+2x+x^2
x^2-1 | (x-1)(x+1)
(x-1)(x+1) | (x+1)(x-1)
2x+3y | 3y+2x
-x+1 | 1-x
x(x+1) | x^2+x
x^{2}y | yx^2
a+b | b+a
\frac{x+1}{2} | \frac{x}{2}+\frac{1}{2}
3x^2-5x+2 | (3x-2)(x-1)
x^2 + 7x + 10 | x^2+7x+10
p^2 - q | -q+p^2
y=2x+1 | 2x-y+1=0
y=2x+1 | -2x+y=1
x+y=3 | 2x+2y=6
x^2+y^2=4 | 4 = x^2+y^2
3x-4y+25=0 | -3x+4y-25=0
y = \frac{1}{2}x | x = 2y
x+y-3=0 | y = 3 - x
(1,2,3) | \langle 1,2,3\rangle
(1,2) | \left(1,2\right)
(1,2) | ( 1 , 2 )
\left(\frac{1}{2},3\right) | (0.5,3)
(3, \frac{\pi}{2}) | \left( 3, \frac{\pi}{2} \right)
(4,-1),(2,3) | (2,3),(4,-1)
(1,2)\text{ and }(3,4) | (1,2),(3,4)
2^{10} | 1024
10! | 3628800
\binom{5}{2} | 10
{5 \choose 2} | 10
|{-5}| | 5
\left|-5\right| | 5
\lfloor 3.7 \rfloor | 3
3+4i | 4i+3
i | \sqrt{-1}
2i\sqrt{3} | 2\sqrt{3}i
e^{i\pi} | -1
e^2 | e^{2}
\pi | 3.14159265
\infty | +\infty
-\infty | -\infty
1:2 | 1 : 2
3:4 | 3\!:\!4
5\!:\!30 | 5:30
10\text{:}30 \text{ a.m.} | 10:30\text{ AM}
1,2,3 | 3, 2, 1
1, 2 | 1 \text{ and } 2
1,2 | 2 or 1
2,3,5 | 2, 3, and 5
120^\circ, 60^\circ | 60,120
50^\circ | 50^{\circ}
\$18 | 18 dollars
18 | \(18\)
18 | **18**
18 | $18$
18 | \[18\]
18 | 18.
18 | \boxed{18}
18 | \,18\,
18 | \text{18}
18 | \mathbf{18}
18 | {18}
18 | (18)
18 | 18\\
-5 | −5
-5 | –5
5x | 5 \cdot x
5x | 5\times x
5x | 5*x
x^2 | x^{2}
x^2 | x**2
x_1 | x_{1}
\sqrt{2}/2 | \frac{\sqrt 2}{2}
sqrt(2)/2 | \frac{\sqrt 2}{2}
pi/2 | \frac{\pi}{2}
1/(2x) | \frac{1}{2x}
2(x+1) | 2x+2
\frac{a}{b} | a/b
\frac{1}{x-1} | -\frac{1}{1-x}
2^{n+1}-2 | 2(2^n-1)
n(n+1)/2 | \frac{n^2+n}{2}
\frac{n!}{2} | n!/2
\left(x+2\right)\left(x-3\right) | (x-3)(x+2)
\frac{2}{3}\pi r^3 | \frac{2\pi r^3}{3}
\displaystyle\frac{1}{2} | 1/2
\dfrac{1}{2}\text{ hour} | 0.5
\text{Two} | 2
\text{three} | 3
twelve | 12
1 \frac{1}{2} \text{ hours} | 1.5
\frac{1}{3}, \frac{2}{3} | 2/3, 1/3
0 | -0
0.10 | 0.1
1e-3 | 0.001
15\% | 15 \%
15\% | 15\text{ percent}
x \in \{1,2\} | \{1,2\}
x\in\mathbb{R} | (-\infty,\infty)
a = 1, b = -2 | a=1,\ b=-2
(-3,0) | (-3, 0)
y = 3x | 3x
f^{-1}(x) = 2x | 2x
\overline{AB} | AB
\triangle ABC | ABC
120 \text{ ways} | 120
0.25 | \frac{1}{4}
25\% | 0.25
\text{2 and 3} | 2,3
11,-5 | x=11\text{ or }x=-5
1\times 10^5 | 100000
2.0 \times 10^{-1} | 0.2
1,000.00 | 1000
\frac{1,000}{3} | \frac{1000}{3}
\sqrt{1,000} | 10\sqrt{10}
3^{2^2} | 81
-2^2 | -4
(-2)^2 | 4
2\cdot3 | 6
\frac{7}{2}\sqrt{2} | \frac{7\sqrt2}{2}
\frac{3\sqrt{2}}{2} | 1.5\sqrt2
\frac{-3+\sqrt{5}}{2} | \frac{\sqrt5-3}{2}
\frac{\sqrt{10}}{\sqrt{5}} | \sqrt2
5\text{ m/s}^2 | 5
\frac{9}{2}\text{ in}^2 | 4.5
4\frac{1}{2}\text{ feet} | 4.5 ft
7{,}200 \text{ meters} | 7200
12 \text{ hours and } 30 \text{ minutes} | 12 \text{ hours and } 30 \text{ minutes}
3\ \text{cm} | 3
1.5\,\mathrm{m} | 1.5
45\text{ mi} | 45 miles
2\text{ L} | 2
1.25 \text{ kg} | 1.25
\text{5 cm} | 5
16\text{ tablespoons} | 16
8\text{ seats} | 8
\text{32 bacteria} | 32
\textdollar 5 | 5
\textcolor{red}{5} | 5
\color{red}5 | 5
\color{blue}{5} | 5
\mathbf{\frac{1}{2}} | 1/2
\left( \frac{1}{2}, \infty \right) | (1/2,\infty)
\left(-\infty, -\frac12\right) \cup \left(-\frac12, \infty\right) | (-\infty,-0.5)\cup(-0.5,\infty)
(-\infty,-5]\cup[5,\infty) | (-\infty, -5] \cup [5, +\infty)
x \in (-\infty,-5]\cup[5,\infty) | x \le -5 \text{ or } x \ge 5
\left[\frac{3\pi}{4}, \pi\right] | [3\pi/4,\pi]
(0,1)\cup(1,2)\cup(2,3) | (2,3)\cup(0,1)\cup(1,2)
x=\frac{1\pm\sqrt{5}}{2} | \frac{1+\sqrt{5}}{2}, \frac{1-\sqrt{5}}{2}
-1\pm i\sqrt{3} | -1+i\sqrt3,-1-i\sqrt3
\frac{-1 \pm \sqrt{7}i}{2} | \frac{-1+i\sqrt{7}}{2}, \frac{-1-i\sqrt{7}}{2}
3, -2 | -2, 3
3,-2 | x=-2,3
(2,5),(3,6) | \{(3,6),(2,5)\}
6 \text{ and } 8 | 8, 6
\frac{1}{2}, -1 | -1,\frac12
0,1,-1 | \{-1,0,1\}
\cos\theta | \cos(\theta)
\frac{\sqrt{6}-\sqrt{2}}{4} | \sin 15^\circ
\tan^{-1}(2) | \arctan 2
\cot 45^\circ | 1
\operatorname{arcsin}(1) | \frac{\pi}{2}
\log_{2}(x+1) | \log_2 (x+1)
\frac{\log 3}{\log 2} | \log_2 3
\sqrt[3]{4} | 4^{1/3}
\sqrt[5]{32} | 2
2\sqrt[3]{2} | \sqrt[3]{16}
\frac{\sqrt[3]{4}}{2} | 2^{-1/3}
a^2b^3 | b^3 a^2
-8x^3+4x | 4x-8x^3
(x^2+3x+9)(x-3) | x^3-27
x^3-27 | (x - 3)(x^2 + 3x + 9)
\frac{x+3}{x-3} | \frac{-x-3}{3-x}
\frac{1}{x}+\frac{1}{y} | \frac{x+y}{xy}
16x^{16} | 16 x^{16}
5(3x+1)(2x-3) | (15x+5)(2x-3)
y = -\frac{3}{4}x + \frac{25}{4} | 3x+4y=25
\frac{x^2}{9}+\frac{y^2}{4}=1 | 4x^2+9y^2=36
(x-2)^2+(y+3)^2=16 | (y+3)^2+(x-2)^2=16
x^2 + 3x - 10 = 0 | x^2=10-3x
r = 2\cos\theta | 2\cos\theta
A = \frac{1}{2}bh | \frac{bh}{2}
k\ge 1 | 1\leq k
k\in[1,\infty) | k \ge 1
-3\le x\le 5 | [-3,5]
f(x)=x^2+1 | x^2+1
P(x)=x^2 | x^2
\left(\frac{3}{5},\frac{8}{3}\right] | (3/5, 8/3]
\text{Region I} | Region I
\text{QED} | QED
\text{isosceles} | isosceles
\text{Tuesday} | \mathrm{Tuesday}
\text{(E)} | E
\text{A,C} | A, C
A,C | C, A
AB, CD | CD, AB
\text{B} | \text{(B)}
\mathrm{(C)} | C
\textbf{(D) }24 | \textbf{(D)} 24
\mathrm{E} | E
\text{even function} | even function
\text{Neither} | neither
\text{6:00 p.m.} | 6:00\text{ PM}
4:00\text{ p.m.} | 4:00 pm
7\!:\!00 | 7:00
\text{March 10} | March 10
0.\overline{09} | \frac{1}{11}
0.2\overline{3} | \frac{7}{30}
1.\overline{3} | \frac43
3.\overline{142857} | \frac{22}{7}
.375 | \frac38
-.5 | -\frac{1}{2}
+5 | 5
(+5) | 5
--5 | 5
2.50 | 2.5
1 000 000 | 1000000
1\,000\,000 | 1000000
58,\!500 | 58500
6{,}170 | 6170
18{,}000{,}000 | 18000000
1.2\times 10^6 | 1{,}200{,}000
1.2 \times 10^{6} | 1.2 \cdot 10^{6}
4.5 \times 10^{-5} | 0.000045
9\times10^8 | 900,000,000
1 \text{ million} | 1000000
1.5\text{ million} | 1,500,000
2\text{ dozen} | 2 dozen
1011_2 | 1011_{2}
1011_{2} | {1011}_2
5C_{16} | 5C_{16}
1100_{2} | 1100_{\text{two}}
201_{5} | 201_5
\frac{3}{2}\pi | 1.5\pi
100\pi | 100 \pi
4\pi\text{ cm}^2 | 4 \pi
\frac{2}{3}\pi\text{ cubic inches} | \frac{2\pi}{3}
17.5 | 17\frac{1}{2}
\frac{35}{2} | 17 \frac{1}{2}
17\frac{1}{2} | 17 1/2
-\frac{35}{2} | -17\frac12
2+\sqrt{3} | \sqrt{3} + 2
(2+\sqrt{3}) | 2 + \sqrt{3}
e^{2\pi i} | 1
\cos(\pi) | -1
i^2 | -1
(1+i)^2 | 2i
|3+4i| | 5
\frac{1}{1+i} | \frac{1-i}{2}
\overline{3+4i} | \overline{3+4i}
3-4i | 3 - 4 i
\mathbf{v} = \begin{pmatrix}1\\2\end{pmatrix} | \begin{pmatrix}1\\2\end{pmatrix}
\mathbf{i}+2\mathbf{j} | 2\mathbf{j}+\mathbf{i}
\begin{pmatrix} -1/3 & 2 \\ 0 & 4 \end{pmatrix} | \begin{pmatrix} -\frac{1}{3} & 2 \\ 0 & 4 \end{pmatrix}
\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix} | \begin{pmatrix} 1 & 0 \\ 0 & 1 \\ \end{pmatrix}
2^{100} | 4^{50}
100! | 100!
\frac{100!}{99!} | 100
\binom{10}{3} | 120
_{10}C_3 | _{10}C_3
\dbinom{10}{3} | 120
\frac{1}{2^{10}} | 2^{-10}
99^2-1 | 9800
3 \cdot 5 \cdot 7 | 105
2^3\cdot 3 | 24
\gcd(4,6) | \gcd(4,6)
\sum_{k=1}^n k | \sum_{k=1}^{n} k
\int_0^1 x dx | \int_0^1 x\,dx
\lceil 2.1\rceil | 3
x\equiv 3 \pmod 5 | x \equiv 3 \pmod{5}
3 \pmod 5 | 3\pmod{5}
1 : 4 | 1:4
\frac{1}{4} | 1/4
\$\frac{1}{2} | 0.5
20\text{ percent} | 20\%
\frac{1}{5} | 20\%
66\frac{2}{3}\% | \frac{2}{3}
5^{\circ}\text{C} | 5
75^{\circ}\mathrm{F} | 75
\angle A = 60^\circ | 60^\circ
m\angle A = 60^\circ | 60
\sqrt{5} \text{ units} | \sqrt5
\text{ 14 } | 14
14\text{.} | 14
14 \; | 14
\!14 | 14
\text{\$}14 | 14
14\,\text{USD} | 14
\text{none} | none
\infty | \text{infinity}
x<3\text{ and }x\neq 1 | x < 3, x \ne 1
\{-1, 0, 1\} | \{1, -1, 0\}
a^{2}-b^{2} | (a+b)(a-b)
\alpha+\beta | \beta+\alpha
2\alpha | \alpha \cdot 2
\lambda = 3 | 3
\theta = \frac{\pi}{3} | \pi/3
\frac{d}{dx} | \frac{d}{dx}
x'=2 | x' = 2
(x+1)(x+2)=0 | (x+2)(x+1) = 0
1\frac{1}{2} | \frac{3}{2}
1 + \frac{1}{2} | 1.5
3\cdot\frac{1}{2} | 1.5
\left.\frac{1}{2}\right. | 0.5
\frac{\frac{1}{2}}{3} | \frac16
1/2/3 | \frac{1}{6}
6/2(1+2) | 9
f(3) = 3(3)+1 = 9+1 = 10 | 10
f(-2)=5 | 5
x-3=0 \Leftrightarrow x=3 | 3
2x=6 \Rightarrow x=3 | x = 3
'''

DIFFERENT = r'''
5\text{ cm} | 5\text{ km}
5\text{ feet} | 5\text{ inches}
12 | 12x
50\% | 5
50\% | 500\%
0.5 | 50
0.5 | 5\%
\$2.75 | 275
\$2.75 | 2.70
2\frac{1}{2} | \frac{2}{2}
2\frac{1}{2} | 1
2\frac{1}{2} | 21/2
90^\circ | 9
(-\infty, 3] | (-\infty,3)
(-\infty, 3] | (3,\infty)
[1,2) | (1,2)
(1,2)\cup(3,4) | (1,2)\cup(3,5)
(1,2)\cup(3,4) | (1,4)
(1,2)\cup(3,4) | (1,2)
[2,5] | 2 < x < 5
(2,\infty) | x \ge 2
(2,\infty) | 2
\{1,2,3\} | \{1,2\}
\{1,2,3\} | \{1,2,4\}
\{1,2\} | (1,2)
\emptyset | 0
\emptyset | \{0\}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} | \begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} | \begin{pmatrix} 1 & 2 & 3 & 4 \end{pmatrix}
\begin{pmatrix} 1 \\ 2 \end{pmatrix} | \begin{pmatrix} 1 \\ 2 \\ 0\end{pmatrix}
\begin{pmatrix} 1 \\ 2 \end{pmatrix} | 1
\pm 2 | -2
\pm 2 | 2
1 \pm \sqrt 2 | 1 + \sqrt 2
\sqrt{12} | 3\sqrt{2}
\sqrt{12} | \sqrt{1}2
\sqrt[3]{8} | \sqrt{8}
\sqrt{2} | 1.41
\log_2 8 | \log_8 2
\log 100 | \log 10
\ln 2 | \log_2 2
\sin 30^\circ | \sin 30
\sin x | \cos x
\sin x^2 | \sin^2 x
101_2 | 101
101_2 | 101_3
101_2 | 5
3.5\times 10^4 | 3.5\times 10^5
3.5\times 10^4 | 3.5
10^{-3} | -1000
1{,}000 | 1
1{,}000 | 100
1,000 | 1.000
x=5 | x=6
x=5 | y=5x
5 | -5
5 | 5i
5 | 5\pi
5 | \frac{5}{1+x}
\text{(A)} | \text{(B)}
A | B
A | AB
\text{Monday} | \text{Tuesday}
\text{June} | \text{July}
\text{June 20} | \text{June 2}
\text{Yes} | \text{No}
\text{even} | \text{odd}
\frac12 | \frac21
\frac12 | 12
\frac{1}{2} | 1
\frac{3}{4} | 0.74
\frac{3}{4} | \frac{4}{3}
3 | 3.1
3 | 3.0001
0.\overline{3} | 0.3
0.\overline{3} | 0.33
0.\overline{12} | 0.12
0.1\overline{6} | 0.16
\frac{1}{3} | 0.3
x > 5 | x \ge 5
x > 5 | x < 5
x > 5 | x > -5
x^2+2x+1 | x^2+2x-1
x^2 | 2x
x^2 | x2
x^2-1 | (x-1)^2
x+y | xy
x+y | x-y
y=2x+1 | y=2x-1
y=2x+1 | y=x+1
x^2+y^2=4 | x^2+y^2=2
x^2+y^2=4 | x^2-y^2=4
(1,2) | (2,1)
(1,2) | (1,2,3)
(1,2) | 1
(1,2) | 12
(1,2) | [1,2]
(1,2,3) | (1,2)
1,2 | 1,2,3
1,2,3 | 1,2
1,2 | 12
1,2 | 3
1,2 | 1.2
2^{10} | 2^{11}
2^{10} | 210
10! | 10
\binom{5}{2} | \binom{5}{1}
\binom{5}{2} | \frac{5}{2}
|x| | -|x|
3+4i | 3-4i
3+4i | 7
i | 1
e | 2.71
e^2 | 2e
\pi | 3.14
\pi | 3
\pi | \frac{22}{7}
\infty | -\infty
1:2 | 2:1
1:2 | 1
5:30 | 5:03
10:30\text{ a.m.} | 10:30\text{ p.m.}
18 | 81
18 | 1.8
18 | 180
18 | 18\frac{1}{2}
18 | 18 + 1
18 | 18, 19
18 | 17 + 2
18 | \text{eighteen}1
5x | 5
5x | 5y
5x | x^5
x_1 | x_2
x_1 | x
2(x+1) | 2x+1
1/(2x) | x/2
1/2x | 2x
\frac{a}{b} | \frac{b}{a}
2^{n+1} | 2^n+1
n! | n
\sqrt{x} | x
12 | 21
120^\circ, 60^\circ | 120
\text{no solution} | 0
\text{no solution} | \text{infinitely many solutions}
-2^2 | 4
0 | \emptyset
0 | x
1 | 0.99
1 | \frac{99}{100}
100 | 99.9
2016 | 2015.9
\frac{1}{2016} | \frac{1}{2015}
0.001 | 0
0.0001 | 0.0002
123456789 | 123456788
10^{20} | 10^{20}+1
\frac{10^{20}+1}{10^{20}} | 1
\frac{\sqrt{3}}{2} | \frac{\sqrt{3}}{3}
\frac{\sqrt{3}}{2} | 0.86
\tan x | \frac{\cos x}{\sin x}
a=2,b=3 | a=3,b=2
x=1,y=2 | (2,1)
(4,-1),(2,3) | (4,3),(2,-1)
2,3,5 | 2,3,7
11_4 | 11_{5}
2^{100} | 2^{101}
100! | 99!
x<3 | x<3, x \ne 1
\{1,1,2\} | \{1,2,2\}
(1,2),(3,4) | (1,4),(3,2)
(2,5),(3,6) | (5,2),(6,3)
6 and 8 | 68
A,C | A
A,C | B,C
\text{Region I} | \text{Region II}
\text{isosceles} | \text{scalene}
\text{6:00 p.m.} | \text{6:00 a.m.}
7:00 | 7:01
7:00 | 7
\text{March 10} | \text{May 10}
\text{March 10} | \text{March 1}
1.\overline{3} | 1.3
0.\overline{09} | 0.09
0.2\overline{3} | 0.23
1 000 000 | 1 000 001
18{,}000 | 18
1\text{ million} | 1
1011_2 | 1011_3
1011_2 | 11
1011_2 | 1110_2
\frac{3}{2}\pi | \frac{2}{3}\pi
4\pi | 4
17\frac{1}{2} | 17
17\frac{1}{2} | \frac{17}{2}
2+\sqrt3 | 2-\sqrt3
2+\sqrt3 | 2\sqrt3
3-4i | -3+4i
\begin{pmatrix}1\\2\end{pmatrix} | \begin{pmatrix}1\\3\end{pmatrix}
\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix} | 1
\mathbf{i}+2\mathbf{j} | \mathbf{j}+2\mathbf{i}
\frac{1}{2^{10}} | 2^{10}
x\equiv 3 \pmod 5 | x \equiv 3 \pmod 7
x\equiv 3 \pmod 5 | x \equiv 2 \pmod 5
3 \pmod 5 | 3 \pmod 7
1:4 | 4:1
20\% | 2\%
20\% | 0.02
-1\pm i\sqrt{3} | 1\pm i\sqrt3
-1\pm i\sqrt{3} | -1 + i\sqrt3
\frac{-1 \pm \sqrt{7}}{2} | \frac{-1+\sqrt7}{2}
x=\pm 3 | x=3
\cos\theta | \sin\theta
\cos\theta | \cos 2\theta
\cos\theta | \cos\phi
\tan^{-1}(2) | \frac{1}{\tan 2}
\log_2 3 | \log_3 2
\sqrt[3]{4} | \sqrt{4}
a^2b^3 | a^3b^2
x^3-27 | x^3+27
\frac{x+3}{x-3} | \frac{x-3}{x+3}
\frac{1}{x+y} | \frac1x+\frac1y
y = -\frac{3}{4}x + \frac{25}{4} | y = \frac{3}{4}x + \frac{25}{4}
4x^2+9y^2=36 | 9x^2+4y^2=36
x^2+3x-10=0 | x^2+3x+10=0
k\ge 1 | k > 1
k\ge 1 | k \le 1
-3\le x\le 5 | (-3,5)
-3\le x\le 5 | -3 \le x < 5
(-\infty,-5]\cup[5,\infty) | x \le -5 \text{ or } x > 5
(-\infty,-5]\cup[5,\infty) | [-5,5]
(-\infty,-5]\cup[5,\infty) | x\le -5
f(x)=x^2+1 | f(x)=x^2-1
P(x)=x^2 | x
\sqrt{5} | 5
|3+4i| | 7
a^2-b^2 | (a-b)^2
\alpha | \beta
\alpha | a
x' = 2 | x = 3
6:00 | 600
18 | 18\%\%
0.5 | \frac{1}{2}x
\frac{1}{2} | \frac{1}{2}+x-x+1
10^{10} | 10^{11}
1 | \frac{10^{12}+1}{10^{12}}
\frac{1}{3} | 0.3334
0.125 | 0.12
0.125 | 0.13
2.718 | e
1.414 | \sqrt{2}
22/7 | \pi
3.14159 | \pi + 1
999 | 1000
1,2,3 | (1,2,3)
(1,2) \cup (2,3) | (1,3)
x+1 | x
x+1 | y+1
\text{yes} | \text{no}
\text{true} | \text{false}
\text{acute} | \text{obtuse}
5 | 5 \text{ or } 6
5 | \text{not } 5
5 | \neq 5
5 | > 5
5 | \le 5
5 | 5 \text{ mod } 7
\{5\} | \{5,6\}
3! | 3
3! | 3!!
0 | 0.01
0 | 1e-8
1e5 | 1e6
x^{10} | x^{1}0
\frac{12}{5} | 12.5
-3 | 3
3 | |{-3}|+1
f(3) = 10 | 3
x-3=0 \Leftrightarrow x=3 | 0
x=3 \Rightarrow | 4
'''

# A decision, where other graders decide otherwise: another unit, notation of one country, a name for a value that has
# another meaning, what takes solving.
REFUSED = r'''
(0,1] | ]0,1]
1:4 | 1 \text{ to } 4
US\$14 | 14
[-1,1] | |x| \le 1
\$0.50 | 50\text{ cents}
\emptyset | \phi
twenty-one | 21
x=1,y=2 | (1,2)
'''


def pairs(rows: str) -> list[tuple[str, str]]:
  both = [tuple(row.split(' | ', 1)) for row in rows.strip().splitlines()]
  return both + [(answer, gold) for gold, answer in both]


@pytest.mark.parametrize(('gold', 'answer'), pairs(EQUAL))
def test_they_are_equal(gold, answer):
  assert equal(gold, answer)
  assert None in (keys(gold), keys(answer)) or keys(gold) & keys(answer)


@pytest.mark.parametrize(('gold', 'answer'), pairs(DIFFERENT))
def test_they_are_not(gold, answer):
  assert not equal(gold, answer)


@pytest.mark.parametrize(('gold', 'answer'), pairs(REFUSED))
def test_they_are_not_by_decision(gold, answer):
  assert not equal(gold, answer)
